"""Crops the photos of a plan into the arrays of a prepared data set; killed anywhere, it goes on from there.

Every crop is written once, where it stays. The folder being built holds, besides the arrays:

    plan.json          what the arrays depend on; of another plan nothing is taken over
    progress.jsonl     a line for every few thousand photos: source, photos so far, those skipped among them
    SOURCE.sizes       int32[N, 2], (width, height) of each record's photo; 0 until its crop is written
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from svhn_jax import files, labels
from svhn_jax.data import arrays, crop
from svhn_jax.data.photos import MAX_PHOTO_SIDE
from svhn_jax.data.prepare import pool
from svhn_jax.data.prepare.assign import Part
from svhn_jax.data.prepare.pool import Cropper, Group, Target, Task
from svhn_jax.data.records import Photo, Skipped
from svhn_jax.data.sources import labels_csv
from svhn_jax.errors import InputError, printable

PLAN, PROGRESS = "plan.json", "progress.jsonl"
GROUPS_PER_COMMIT = 32
MAX_BAD_SHOWN = 1000
OFF_PHOTO = "a box reaches past the photo's edge"
BEFORE_PHOTO = "a box starts left of or above the photo"
TOO_LONG = "a number of more than five digits"


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
      folder: new, or what an earlier call with the same plan left unfinished.
      settings: what the arrays depend on; becomes part of the manifest.
      stamps: of each source, taken before it was first read.
      jobs: processes; the arrays do not depend on it.
      skip_bad: whether rows of a labels.csv that cannot be used are skipped. Bad records of published sources always are.

    Raises:
      InputError: a source cannot be read, or a row of a labels.csv cannot be used, or none of a source's photos can,
        or too little space is free.
    """
    size, margin = int(settings["crop"]["size"]), float(settings["crop"]["margin"])
    targets = _go_on(folder, parts, settings, size)
    photos = sum(len(part.records) for part in parts)
    with pool.cropper(margin=margin, size=size, jobs=pool.jobs_worth_starting(jobs, photos)) as crop_all:
        sizes = [_crop_source(folder, part, targets, crop_all) for part in parts]
    for part in parts:
        if part.source.stamp() != stamps[part.source.split]:
            raise InputError(f"{part.source.path}: changed while it was read; run the same command again")
    skipped = {part.source.split: part.skipped.copy() for part in parts}
    for entry in _progress(folder):
        skipped[entry["source"]] += (Skipped(*one) for one in entry["skipped"])
    for part, photo_sizes in zip(parts, sizes, strict=True):
        _refuse_bad(part, photo_sizes, skipped[part.source.split], skip_bad)
    _require_all(folder, parts, sizes, skipped)
    manifest = settings | {
        "splits": {split: _finish_split(folder, split, parts, sizes) for split in targets},
        "sources": {
            part.source.split: {
                "path": printable(part.source.path.name),
                "stamp": stamps[part.source.split],
                "kept": int((photo_sizes[:, 0] > 0).sum()),
                "skipped": [_described(one) for one in skipped[part.source.split]],
                "noted": _notes(part, photo_sizes),
            }
            for part, photo_sizes in zip(parts, sizes, strict=True)
        },
    }
    arrays.write_manifest(folder, manifest)
    # Delete plan.json first, so that leftovers are never resumed.
    for path in (PLAN, PROGRESS, *(f"{part.source.split}.sizes" for part in parts)):
        (folder / path).unlink(missing_ok=True)
    return manifest


def _refuse_bad(part: Part, sizes: np.ndarray, skipped: list[Skipped], skip_bad: bool) -> None:
    """Raises InputError where rows of a labels.csv cannot be used and must not be skipped, or no photo can be used."""
    path = part.source.path
    bad = sorted((one for one in skipped if one.line), key=lambda one: one.line)
    if bad and not skip_bad:
        shown = f" (the first {MAX_BAD_SHOWN:,} follow)" if len(bad) > MAX_BAD_SHOWN else ""
        raise InputError(
            f"{path / labels_csv.NAME}: {len(bad):,} of its rows cannot be used{shown}; correct them, or give --skip-bad",
            [f"line {one.line}: {one.name}: {one.reason}" for one in bad[:MAX_BAD_SHOWN]],
        )
    if skipped and not sizes.any():
        raise InputError(f"{path}: none of its photos can be used; the first, {skipped[0]}: {skipped[0].reason}")


def _described(skipped: Skipped) -> dict[str, Any]:
    """An entry of the manifest; it has a line only where it comes from a labels.csv."""
    return {"name": skipped.name, "reason": skipped.reason} | ({"line": skipped.line} if skipped.line else {})


def _require_all(folder: Path, parts: list[Part], sizes: list[np.ndarray], skipped: dict[str, list[Skipped]]) -> None:
    """Every record is kept or skipped, or what an earlier call left is not what it was."""
    for part, photo_sizes in zip(parts, sizes, strict=True):
        told = {one.name for one in skipped[part.source.split]}
        is_kept = (photo_sizes[:, 0] > 0).tolist()
        for name, row in part.rows_by_name.items():
            if not is_kept[row] and name not in told:
                raise InputError(
                    f"{folder}: what an earlier run left there is damaged, {part.source.split}/{name} is neither "
                    "kept nor skipped; removed, and the same command makes it anew"
                )


def _go_on(folder: Path, parts: list[Part], settings: dict[str, Any], size: int) -> dict[str, Target]:
    """The images file of each split, made, or found as an earlier call with the same plan left it."""
    counts = Counter(split for part in parts for split in part.splits.tolist())
    splits = [split for index, split in enumerate(arrays.SPLITS) if counts[index] or split in _splits_of(parts)]
    wanted = {split: counts[arrays.SPLITS.index(split)] for split in splits}
    if not _can_go_on(folder, parts, settings, wanted, size):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        arrays.check_space(folder, counts.total() * size * size * 3)
        for split in splits:
            (folder / split).mkdir()
            arrays.create_images(folder / split / "images.npy", wanted[split], size)
        for part in parts:
            with open(folder / f"{part.source.split}.sizes", "wb") as file:
                file.truncate(max(1, len(part.records)) * 8)  # an empty file cannot be mapped
        (folder / "plan.new").write_text(json.dumps(settings))
        os.replace(folder / "plan.new", folder / PLAN)
    offsets = {split: np.load(folder / split / "images.npy", mmap_mode="r").offset for split in splits}
    return {split: Target(str(folder / split / "images.npy"), offset) for split, offset in offsets.items()}


def _can_go_on(folder: Path, parts: list[Part], settings: dict[str, Any], wanted: dict[str, int], size: int) -> bool:
    """Whether an earlier call with the same plan was here, and all that it left is sound."""
    try:
        if any((not path.is_file() and not path.is_dir()) or path.is_symlink() for path in folder.rglob("*")):
            return False
        if json.loads((folder / PLAN).read_text()) != settings:
            return False
        _drop_torn_line(folder / PROGRESS)
        for split, count in wanted.items():
            images = np.load(folder / split / "images.npy", mmap_mode="r")
            if images.dtype != np.uint8 or len(images) > count or images.shape[1:] != (size, size, 3):
                return False
        for part in parts:
            path = folder / f"{part.source.split}.sizes"
            if path.stat().st_size != max(1, len(part.records)) * 8:
                return False
            sizes = np.fromfile(path, np.int32).reshape(-1, 2)
            if sizes.min() < 0 or sizes.max() > MAX_PHOTO_SIDE or ((sizes > 0).sum(axis=1) == 1).any():
                return False
        return all(_is_entry(entry, {part.source.split for part in parts}) for entry in _progress(folder))
    except (OSError, *arrays.NOT_LOADED):
        return False


def _is_entry(entry: Any, sources: set[str]) -> bool:
    """Whether this is what a line of progress.jsonl says."""
    if not isinstance(entry, dict) or entry.keys() != {"source", "photos", "skipped", "is_end"}:
        return False
    is_list = isinstance(entry["skipped"], list) and all(
        isinstance(one, list) and [type(value) for value in one] == [str, str, int] for one in entry["skipped"]
    )
    is_counted = type(entry["photos"]) is int and entry["photos"] >= 0 and type(entry["is_end"]) is bool
    return entry["source"] in sources and is_list and is_counted


def _splits_of(parts: list[Part]) -> set[str]:
    """The splits that the sources are for, be they empty."""
    tests = {part.source.split == "test" for part in parts}
    return ({"test"} if True in tests else set()) | ({"train", "validation"} if False in tests else set())


def _crop_source(folder: Path, part: Part, targets: dict[str, Target], crop_all: Cropper) -> np.ndarray:
    """Crops the photos of a source that are not done yet; returns int32[N, 2], each record's photo size or 0."""
    split = part.source.split
    mapped = np.memmap(folder / f"{split}.sizes", np.int32, "r+", shape=(max(1, len(part.records)), 2))
    sizes = np.asarray(mapped)[: len(part.records)]  # the same memory, ten times as fast to write a row of
    before = [entry for entry in _progress(folder) if entry["source"] == split]
    if any(entry["is_end"] for entry in before):
        return sizes
    done = max((entry["photos"] for entry in before), default=0)
    seen: set[str] = set()
    silent = not sys.stdout.isatty()
    photos = track(part.source.photos(), f"{split}: photos", total=len(part.records), transient=True, disable=silent)
    skipped: list[Skipped] = []
    with _Commits(folder, split, mapped, targets) as commits:
        for index, (group, outcomes) in enumerate(crop_all(_groups(part, photos, targets, seen, done)), 1):
            done += group.photos
            skipped += group.skipped
            for name, outcome in zip(group.names, outcomes, strict=True):
                if isinstance(outcome, str):
                    skipped.append(part.skip(name, outcome))
                else:
                    sizes[part.rows_by_name[name]] = outcome
            if index % GROUPS_PER_COMMIT == 0:
                commits.add(done, skipped)
                skipped = []
        skipped += [part.skip(name, "no such photo") for name in part.rows_by_name if name not in seen]
        commits.add(done, skipped, is_end=True)
    return sizes


def _groups(
    part: Part, photos: Iterable[Photo], targets: dict[str, Target], seen: set[str], done: int
) -> Iterator[Group]:
    """The photos after the first `done`, in groups; `seen` becomes the names of all photos that went by."""
    photos = (photo for photo in photos if photo.name not in part.passed_over)
    for photo in islice(photos, done):
        seen.add(photo.name)
    for block in _blocks(photos):
        group = Group(len(block), [], [], [])
        for photo in block:
            if refusal := part.refusal(photo, seen):
                group.skipped.append(part.skip(photo.name, refusal))
            else:
                row = part.rows_by_name[photo.name]
                number = crop.union(part.records[row].boxes)
                target = targets[arrays.SPLITS[part.splits[row]]]
                group.names.append(photo.name)
                group.tasks.append(Task(photo.content, number, target, int(part.rows[row])))
            seen.add(photo.name)
        yield group
        if part.is_limited and seen >= part.rows_by_name.keys():
            return


def _blocks(photos: Iterator[Photo]) -> Iterator[list[Photo]]:
    """Photos in lists of so many, or of so many bytes: those in flight stay few whatever their size."""
    block: list[Photo] = []
    for photo in photos:
        block.append(photo)
        is_large = sum(len(one.content) for one in block) >= pool.BYTES_PER_TASK
        if is_large or len(block) == pool.PHOTOS_PER_TASK:
            yield block
            block = []
    if block:
        yield block


class _Commits:
    """Notes how many photos of a source are done, once what was written of them is on the disk; in a thread.

    The disk takes as long as the cropping. Leave the `with` block to be sure that all is noted.
    """

    def __init__(self, folder: Path, source: str, sizes: np.memmap, targets: dict[str, Target]):
        self._folder, self._source, self._sizes, self._targets = folder, source, sizes, targets
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> "_Commits":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if self._last and not kind:
            self._last.result()

    def add(self, photos: int, skipped: list[Skipped], *, is_end: bool = False) -> None:
        """Waits for the one before, and raises what went wrong with it."""
        if self._last:
            self._last.result()
        entry = {"source": self._source, "photos": photos, "skipped": skipped, "is_end": is_end}
        self._last = self._thread.submit(_commit, self._folder, self._sizes, self._targets, entry)


def _commit(folder: Path, sizes: np.memmap, targets: dict[str, Target], entry: dict[str, Any]) -> None:
    for target in targets.values():
        files.sync(Path(target.path))
    sizes.flush()
    with open(folder / PROGRESS, "a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _drop_torn_line(path: Path) -> None:
    """A full disk, or a kill, may have left half a line at the end; the next one must not be appended to it."""
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)


def _progress(folder: Path) -> list[dict[str, Any]]:
    """The lines of progress.jsonl."""
    path = folder / PROGRESS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _finish_split(folder: Path, split: str, parts: list[Part], sizes: list[np.ndarray]) -> dict[str, Any]:
    chosen = [np.flatnonzero(part.splits == arrays.SPLITS.index(split)) for part in parts]
    records = [
        (f"{part.source.split}/{part.records[row].name}", part.records[row])
        for part, rows in zip(parts, chosen, strict=True)
        for row in rows
    ]
    photo_sizes = np.concatenate([size[rows] for size, rows in zip(sizes, chosen, strict=True)])
    return arrays.finish_split(
        folder / split,
        np.array([labels.encode(record.digits) for _, record in records], np.int32).reshape(-1, 6),
        [name for name, _ in records],
        np.array(
            [_box(record.boxes, *size) for (_, record), size in zip(records, photo_sizes.tolist(), strict=True)]
        ).reshape(-1, 4),
        photo_sizes,
    )


def _box(boxes: np.ndarray, photo_width: int, photo_height: int) -> tuple[float, float, float, float]:
    """(left, top, width, height) of the number in its photo."""
    box = crop.number_in(boxes, photo_width, photo_height)
    return box.left, box.top, box.right - box.left, box.bottom - box.top


def _notes(part: Part, sizes: np.ndarray) -> dict[str, int]:
    """How many of the kept photos have a peculiarity that users ask about."""
    notes = Counter({BEFORE_PHOTO: 0, OFF_PHOTO: 0, TOO_LONG: 0})
    for record, (width, height) in zip(part.records, sizes.tolist(), strict=True):
        if width:
            box = crop.number_in(record.boxes, width, height)
            notes[BEFORE_PHOTO] += box.left < 0 or box.top < 0
            notes[OFF_PHOTO] += box.left < 0 or box.top < 0 or box.right > width or box.bottom > height
            notes[TOO_LONG] += len(record.digits) > labels.MAX_DIGITS
    return dict(notes)
