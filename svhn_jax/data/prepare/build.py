"""Crops the photos of sources into a prepared data set."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import PIL

import svhn_jax
from svhn_jax import labels
from svhn_jax.data import arrays, crop, photos, writing
from svhn_jax.data.accounting import Account
from svhn_jax.data.prepare.assign import choose_validation, splits_of
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.sources.find import Source
from svhn_jax.data.workers import Workers
from svhn_jax.data.writing import Row, SplitWriter
from svhn_jax.errors import InputError, printable
from svhn_jax.output import SILENT, Terminal

PHOTOS_PER_BLOCK, BYTES_PER_BLOCK = 64, 2**21
PHOTOS_PER_PROCESS = 500  # starting a process takes as long as cropping this many
MOST_BAD_SHOWN = 1000
OFF_PHOTO = "a box reaches past the photo's edge"
BEFORE_PHOTO = "a box starts left of or above the photo"


class CropTask(NamedTuple):
    """A photo to crop: its row in the account's records, its bytes, its number's box."""

    row: int
    content: bytes
    number: crop.Box | None


class Cropped(NamedTuple):
    """A photo's crop uint8[size, size, 3] and its size in pixels, or why it cannot be used."""

    row: int
    image: np.ndarray | None
    size: tuple[int, int] = (0, 0)
    problem: str = ""


def settings(
    rule: crop.CropRule,
    *,
    max_digits: int,
    validation_fraction: float,
    seed: int,
    limit: int | None = None,
) -> dict[str, Any]:
    """The part of the manifest that the arrays depend on, apart from the sources."""
    modules = {"svhn_jax": svhn_jax, "numpy": np, "h5py": h5py, "pillow": PIL}
    return {
        "format": arrays.FORMAT,
        "crop": dataclasses.asdict(rule),
        "max_digits": max_digits,
        "validation_fraction": validation_fraction,
        "seed": seed,
        "limit": limit,
        "versions": {name: module.__version__ for name, module in modules.items()},
    }


def build(
    folder: Path,
    sources: Sequence[Source],
    settings: dict[str, Any],
    *,
    jobs: int,
    skip_bad: bool = False,
    terminal: Terminal = SILENT,
) -> None:
    """Crops all photos of the sources and writes arrays and manifest into `folder`.

    Args:
      folder: empty.
      sources: train and extra go to train and validation, test goes to test.
      settings: as the function `settings` returns them.
      jobs: processes that decode and crop; the arrays do not depend on it.
      skip_bad: skip rows of a labels.csv that cannot be used. Bad records of other sources are
        always skipped.
      terminal: shows the progress.

    Raises:
      InputError: a source cannot be read, a row of a labels.csv cannot be used, a source has no
        photo that can be used, or too little space is free.
    """
    stamps = {source.split: source.stamp() for source in sources}  # before anything is read
    accounts = [Account(source, settings["limit"]) for source in sources]
    held_out = choose_validation(
        {account.name: account.lengths() for account in accounts},
        settings["validation_fraction"],
        settings["seed"],
        settings["max_digits"],
    )
    counts = {account.name: len(account.records) for account in accounts}
    processes = max(1, min(jobs, sum(counts.values()) // PHOTOS_PER_PROCESS))
    with (
        writing.open_splits(
            folder, counts, settings["crop"]["size"], settings["max_digits"]
        ) as writers,
        Workers(processes) as workers,
    ):
        described = {}
        for order, account in enumerate(accounts):
            splits = splits_of(account.name, held_out[account.name])
            targets = [writers[split] for split in splits]
            counted = _crop_source(account, order, targets, workers, settings, terminal)
            _refuse_bad(account, counted["kept"], skip_bad)
            path, stamp = printable(account.source.path.name), stamps[account.name]
            described[account.name] = {"path": path, "stamp": stamp} | counted
        finished = {split: writer.finish() for split, writer in writers.items()}
    writing.write_manifest(folder, settings | {"splits": finished, "sources": described})


def _crop_source(
    account: Account,
    order: int,
    targets: list[SplitWriter],
    workers: Workers,
    settings: dict[str, Any],
    terminal: Terminal,
) -> dict[str, Any]:
    """Writes the crop of each record to its target; returns the source's part of the manifest."""
    max_digits = settings["max_digits"]
    too_long = f"a number of more than {max_digits} digits"
    kept, noted = 0, Counter({BEFORE_PHOTO: 0, OFF_PHOTO: 0, too_long: 0})
    work = partial(crop_block, margin=settings["crop"]["margin"], size=settings["crop"]["size"])
    blocks = workers.in_order(work, _blocks(account), called=str(account.source.path))
    with terminal.progress(f"{account.name}: photos", len(targets), "photos") as advance:
        for photo in (photo for block in blocks for photo in block):
            advance(1)
            record = account.records[photo.row]
            if photo.image is None:
                account.skip(record.name, photo.problem)
                continue
            (width, height), digits = photo.size, record.digits
            box = crop.number_in(record.boxes, width, height)
            targets[photo.row].add(
                photo.image,
                Row(
                    (order, photo.row),
                    f"{account.name}/{record.name}",
                    labels.encode(digits, max_digits),
                    box.left_top_width_height(),
                    photo.size,
                ),
            )
            kept += 1
            noted[BEFORE_PHOTO] += box.left < 0 or box.top < 0
            noted[OFF_PHOTO] += min(box.left, box.top, width - box.right, height - box.bottom) < 0
            noted[too_long] += len(digits) > max_digits
    return {"kept": kept, "skipped": list(map(_described, account.skipped)), "noted": dict(noted)}


def _blocks(account: Account) -> Iterator[list[CropTask]]:
    """The usable photos, few enough at once that they need little memory whatever their size."""
    block: list[CropTask] = []
    for photo, row in account.photos():
        block.append(CropTask(row, photo.content, crop.union(account.records[row].boxes)))
        size = sum(len(one.content) for one in block)
        if len(block) == PHOTOS_PER_BLOCK or size >= BYTES_PER_BLOCK:
            yield block
            block = []
    if block:
        yield block


def crop_block(block: list[CropTask], *, margin: float, size: int) -> list[Cropped]:
    """Crops photos, in a worker process; margin and size as in svhn_jax.data.crop.crop_number."""
    cropped = []
    for one in block:
        try:
            photo = photos.decode_photo(one.content)
            image = crop.crop_number(photo, one.number, margin=margin, size=size)
            cropped.append(Cropped(one.row, image, photo.size))
        except ValueError as error:
            cropped.append(Cropped(one.row, None, problem=str(error)))
    return cropped


def _refuse_bad(account: Account, kept: int, skip_bad: bool) -> None:
    """Raises InputError for bad rows of a labels.csv, and if no photo is kept."""
    path, skipped = account.source.path, account.skipped
    bad = sorted((one for one in skipped if one.line), key=lambda one: one.line)
    if bad and not skip_bad:
        shown = f" (the first {MOST_BAD_SHOWN:,} follow)" if len(bad) > MOST_BAD_SHOWN else ""
        raise InputError(
            f"{path / labels_csv.NAME}: {len(bad):,} of its rows cannot be used{shown}; "
            "correct them, or give --skip-bad",
            [f"line {one.line}: {one.name}: {one.reason}" for one in bad[:MOST_BAD_SHOWN]],
        )
    if skipped and not kept:
        first = skipped[0]
        raise InputError(f"{path}: no photo can be used; the first, {first}: {first.reason}")


def _described(skipped: Skipped) -> dict[str, Any]:
    """An entry of the manifest; `line` is there only for a row of a labels.csv."""
    line = {"line": skipped.line} if skipped.line else {}
    return {"name": skipped.name, "reason": skipped.reason} | line
