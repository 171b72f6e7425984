"""Crops the photos of sources into a prepared data set, in worker processes."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import PIL

import svhn_jax
from svhn_jax.data import arrays, crop, photos, writing
from svhn_jax.data.records import Account, Record, Skipped, Source
from svhn_jax.data.workers import Workers
from svhn_jax.data.writing import Crop
from svhn_jax.errors import InputError, printable
from svhn_jax.output import SILENT, Terminal

PHOTOS_PER_BLOCK, BYTES_PER_BLOCK = 64, 2**21
PHOTOS_PER_PROCESS = 500  # starting a process takes as long as cropping this many
MOST_BAD_SHOWN = 1000

Block = list[tuple[int, Record, bytes]]


def settings(
    rule: crop.CropRule, *, max_digits: int, validation_fraction: float, seed: int
) -> dict[str, Any]:
    """The part of the manifest that the arrays depend on, apart from the sources."""
    modules = {"svhn_jax": svhn_jax, "numpy": np, "h5py": h5py, "pillow": PIL}
    return {
        "format": arrays.FORMAT,
        "crop": dataclasses.asdict(rule),
        "max_digits": max_digits,
        "validation_fraction": validation_fraction,
        "seed": seed,
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
    accounts = {source.split: Account(source) for source in sources}
    lengths = {name: account.lengths() for name, account in accounts.items()}
    described: dict[str, Any] = {}

    def crops(source: str) -> Iterator[Crop]:
        account, kept = accounts[source], 0
        work, path = partial(crop_block, source, settings), account.source.path
        with terminal.progress(f"{source}: photos", len(account.records), "photos") as advance:
            for block in workers.in_order(work, _blocks(account), called=str(path)):
                good = [one for one in block if isinstance(one, Crop)]
                account.skipped += [one for one in block if isinstance(one, Skipped)]
                kept += len(good)
                yield from good
                advance(len(block))
        _refuse_bad(account, kept, skip_bad)
        skipped = [_described(one) for one in account.skipped]
        described[source] = {"path": printable(path.name), "kept": kept, "skipped": skipped}

    count = sum(map(len, lengths.values()))
    with Workers(max(1, min(jobs, count // PHOTOS_PER_PROCESS))) as workers:
        splits = writing.write_splits(folder, settings, lengths, crops)
    writing.write_manifest(folder, settings | {"splits": splits, "sources": described})


def _blocks(account: Account) -> Iterator[Block]:
    """The usable photos, few enough at once that they need little memory whatever their size."""
    block: Block = []
    size = 0
    for photo, row in account.photos():
        block.append((row, account.records[row], photo.content))
        size += len(photo.content)
        if len(block) == PHOTOS_PER_BLOCK or size >= BYTES_PER_BLOCK:
            yield block
            block, size = [], 0
    yield block


def crop_block(source: str, settings: dict[str, Any], block: Block) -> list[Crop | Skipped]:
    """Decodes and crops photos, in a worker process."""
    cropped: list[Crop | Skipped] = []
    for row, record, content in block:
        try:
            photo = photos.decode_photo(content)
            cropped.append(writing.crop_photo(photo, record, row, source, settings))
        except ValueError as error:
            cropped.append(Skipped(record.name, str(error), record.line))
    return cropped


def _refuse_bad(account: Account, kept: int, skip_bad: bool) -> None:
    """Raises InputError for bad rows of a labels.csv, and if no photo is kept."""
    path, skipped = account.source.path, account.skipped
    bad = sorted((one for one in skipped if one.line), key=lambda one: one.line)
    if bad and not skip_bad:
        raise InputError(
            f"{path}: {len(bad):,} rows of its labels.csv cannot be used; "
            "correct them, or give --skip-bad",
            [f"line {one.line}: {one.name}: {one.reason}" for one in bad[:MOST_BAD_SHOWN]],
        )
    if skipped and not kept:
        first = skipped[0]
        raise InputError(f"{path}: no photo can be used; the first, {first.name}: {first.reason}")


def _described(skipped: Skipped) -> dict[str, Any]:
    """An entry of the manifest; `line` is there only for a row of a labels.csv."""
    line = {"line": skipped.line} if skipped.line else {}
    return {"name": printable(skipped.name), "reason": skipped.reason} | line
