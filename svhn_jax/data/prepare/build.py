"""Crops the photos of a plan into a prepared data set. Every crop is written once, to its final row; a kill loses little."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax import labels
from svhn_jax.data import crop, writing
from svhn_jax.data.accounting import Account
from svhn_jax.data.arrays import SPLITS
from svhn_jax.data.prepare import crops
from svhn_jax.data.prepare.assign import Part, rows_of_splits
from svhn_jax.data.prepare.progress import Entry, Progress
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError, printable

BLOCKS_PER_COMMIT = 32
MAX_BAD_SHOWN = 1000
OFF_PHOTO = "a box reaches past the photo's edge"
BEFORE_PHOTO = "a box starts left of or above the photo"


def build(
    folder: Path,
    parts: list[Part],
    settings: dict[str, Any],
    stamps: dict[str, str],
    *,
    jobs: int,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Crops all photos of the plan and writes arrays and manifest into `folder`; returns the manifest.

    Args:
      folder: empty, or with the unfinished data set of an earlier call.
      parts: the plan, as svhn_jax.data.prepare.assign.plan returns it.
      settings: what the arrays depend on; becomes part of the manifest.
      stamps: of each source, taken before it was first read.
      jobs: processes; the arrays do not depend on it.
      skip_bad: skip rows of a labels.csv that cannot be used. Bad records of published sources are always skipped.

    Raises:
      InputError: a source cannot be read, a row of a labels.csv cannot be used, a source has no photo that can be used,
        or too little space is free.
    """
    max_digits = settings["max_digits"]
    counts = rows_of_splits({part.account.name: part.places for part in parts})
    progress = Progress(folder, [part.account for part in parts], settings, counts)
    work = partial(
        crops.crop_block, **{name: settings["crop"][name] for name in ("margin", "size")}
    )
    photos = sum(len(part.account.records) for part in parts)
    with Workers(max(1, min(jobs, photos // crops.PHOTOS_PER_PROCESS))) as workers:
        for part in parts:
            if entries := progress.entries(part.account):
                part.account.skipped += [one for entry in entries for one in entry.skipped]
            if not entries or not entries[-1].is_end:
                _crop_source(
                    part, progress, workers, work, done=entries[-1].photos if entries else 0
                )
    sizes = {part.account.name: _sizes(progress, part.account) for part in parts}
    sources = {}
    for part in parts:
        account, source = part.account, part.account.source
        if source.stamp() != stamps[account.name]:
            raise InputError(
                f"{source.path}: changed while it was read; run the same command again"
            )
        _refuse_bad(account, sizes[account.name], skip_bad)
        _require_all(folder, account, sizes[account.name])
        sources[account.name] = {
            "path": printable(source.path.name),
            "stamp": stamps[account.name],
            "kept": int((sizes[account.name][:, 0] > 0).sum()),
            "skipped": [_described(one) for one in account.skipped],
            "noted": _notes(account, sizes[account.name], max_digits),
        }
    splits = {
        split: _finish_split(folder, split, parts, sizes, max_digits)
        for split in progress.image_files
    }
    manifest = settings | {"splits": splits, "sources": sources}
    writing.write_manifest(folder, manifest)
    progress.delete()
    return manifest


def _sizes(progress: Progress, account: Account) -> np.ndarray:
    return np.asarray(progress.sizes(account))[: len(account.records)]


def _crop_source(part: Part, progress: Progress, workers: Workers, work: Any, *, done: int) -> None:
    """Crops the photos of a source after the first `done`, and commits every few blocks."""
    account, sizes = part.account, progress.sizes(part.account)
    rows = np.asarray(sizes)  # the same memory; writing a row takes a tenth of the time
    committed = len(account.skipped)
    blocks = crops.blocks(_tasks(part, progress, work.keywords["size"], done))
    with progress.commits(sizes) as commit:
        for index, outcomes in enumerate(workers.in_order(work, blocks), 1):
            done += len(outcomes)
            for outcome in outcomes:
                if outcome.problem:
                    account.skip(outcome.name, outcome.problem)
                else:
                    rows[account.rows[outcome.name]] = outcome.size
            if index % BLOCKS_PER_COMMIT == 0:
                commit(Entry(account.name, done, account.skipped[committed:]))
                committed = len(account.skipped)
        account.skip_missing()
        commit(Entry(account.name, done, account.skipped[committed:], is_end=True))


def _tasks(part: Part, progress: Progress, size: int, start: int) -> Iterator[crops.Task]:
    """A task for every photo after the first `start`."""
    for photo, problem in part.account.photos(start):
        if problem:
            yield crops.Task(photo.name, problem)
            continue
        row = part.account.rows[photo.name]
        split = SPLITS[part.places.splits[row]]
        offset = progress.offsets[split] + int(part.places.rows[row]) * size * size * 3
        number = crop.union(part.account.records[row].boxes)
        yield crops.Task(
            photo.name, "", photo.content, number, str(progress.image_files[split]), offset
        )


def _refuse_bad(account: Account, sizes: np.ndarray, skip_bad: bool) -> None:
    """Raises InputError if rows of a labels.csv cannot be used and must not be skipped, or no photo can be used."""
    path, skipped = account.source.path, account.skipped
    bad = sorted((one for one in skipped if one.line), key=lambda one: one.line)
    if bad and not skip_bad:
        shown = f" (the first {MAX_BAD_SHOWN:,} follow)" if len(bad) > MAX_BAD_SHOWN else ""
        raise InputError(
            f"{path / labels_csv.NAME}: {len(bad):,} of its rows cannot be used{shown}; correct them, or give --skip-bad",
            [f"line {one.line}: {one.name}: {one.reason}" for one in bad[:MAX_BAD_SHOWN]],
        )
    if skipped and not sizes.any():
        raise InputError(
            f"{path}: none of its photos can be used; the first, {skipped[0]}: {skipped[0].reason}"
        )


def _require_all(folder: Path, account: Account, sizes: np.ndarray) -> None:
    """Raises InputError if a record is neither kept nor skipped: then the files of the earlier run are damaged."""
    skipped = {one.name for one in account.skipped}
    for record, width in zip(account.records, sizes[:, 0].tolist(), strict=True):
        if not width and record.name not in skipped:
            raise InputError(
                f"{folder}: the unfinished data set of an earlier run is damaged ({account.name}/{record.name} is neither "
                "kept nor skipped) and was deleted; run the same command again"
            )


def _described(skipped: Skipped) -> dict[str, Any]:
    """An entry of the manifest; `line` is there only for a row of a labels.csv."""
    return {"name": skipped.name, "reason": skipped.reason} | (
        {"line": skipped.line} if skipped.line else {}
    )


def _finish_split(
    folder: Path, split: str, parts: list[Part], sizes: dict[str, np.ndarray], max_digits: int
) -> dict[str, Any]:
    """Writes the other arrays of a split; returns its entry in the manifest."""
    names, digits, boxes, photo_sizes = [], [], [], []
    for part in parts:
        account = part.account
        for row in np.flatnonzero(part.places.splits == SPLITS.index(split)).tolist():
            record, size = account.records[row], sizes[account.name][row].tolist()
            names.append(f"{account.name}/{record.name}")
            digits.append(record.digits)
            boxes.append(crop.number_in(record.boxes, *size).left_top_width_height())
            photo_sizes.append(size)
    return writing.finish_split(
        folder / split,
        labels.encode_all(digits, max_digits),
        names,
        np.array(boxes).reshape(-1, 4),
        np.array(photo_sizes, np.int32).reshape(-1, 2),
    )


def _notes(account: Account, sizes: np.ndarray, max_digits: int) -> dict[str, int]:
    """How many of the kept photos have a peculiarity that users ask about."""
    too_long = f"a number of more than {max_digits} digits"
    notes = Counter({BEFORE_PHOTO: 0, OFF_PHOTO: 0, too_long: 0})
    for record, (width, height) in zip(account.records, sizes.tolist(), strict=True):
        if width:
            box = crop.number_in(record.boxes, width, height)
            notes[BEFORE_PHOTO] += box.left < 0 or box.top < 0
            notes[OFF_PHOTO] += (
                box.left < 0 or box.top < 0 or box.right > width or box.bottom > height
            )
            notes[too_long] += len(record.digits) > max_digits
    return dict(notes)
