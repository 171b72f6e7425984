"""python benchmarks/full_size_archives.py --annotations DIR --to DIR: the three archives of SVHN at full size.

Makes train.tar.gz, test.tar.gz and extra.tar.gz with as many photos as the published ones, of the
published sizes, numbers and boxes, in the published layout; the pixels are drawn, about as heavy and as
costly to decode as the real ones. Extra's sizes and boxes are those of train's numbers of as many digits,
for nobody has published them. A photo depends on (seed, split, its place) alone.

The folder of annotations holds train.jsonl.gz and test.jsonl.gz, a line
{"name": "1.png", "width": 741, "height": 350, "label": "19", "boxes": [[left, top, width, height], ...]}
for each photo, and extra_labels.txt.gz, a number to a line.
"""

import gzip
import io
import json
import multiprocessing
import os
import signal
import sys
import tarfile
import tempfile
import time
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import crude_photos
import numpy as np
import tyro
from crude_photos import Annotation
from rich.console import Console
from rich.progress import track

from svhn_jax.data.records import Record
from svhn_jax.data.synthetic import digit_struct_writer
from svhn_jax.errors import InputError, run_command

VERSION = 2  # of the archives; another version, other bytes
SPLIT_SEEDS = {"train": 0, "test": 1, "extra": 2}
EXTRA_LENGTHS = {1: 9_385, 2: 71_726, 3: 106_789, 4: 14_338, 5: 115}  # as published
EXTRA_MAX_WIDTH, EXTRA_MAX_HEIGHT = 668, 415  # as published
PUBLISHED_AT = 1_318_248_000  # 2011-10-10 12:00, in the archives' entries


@dataclass(frozen=True)
class Options:
    """Makes archives as large as the published ones, with drawn photos."""

    annotations: Path
    """folder with train.jsonl.gz, test.jsonl.gz and extra_labels.txt.gz"""
    to: Path
    """folder for train.tar.gz, test.tar.gz and extra.tar.gz: 2.7 GB, and 1.5 GB more while it works"""
    splits: tuple[Literal["train", "test", "extra"], ...] = ("train", "test", "extra")
    """which archives to make"""
    limit: int | None = None
    """the first so many photos of each split; by default all"""
    seed: int = 0
    """another seed, other photos"""
    jobs: int = 2
    """processes that draw; the photos do not depend on it"""


def main() -> None:
    options = tyro.cli(Options, prog="python benchmarks/full_size_archives.py", description=__doc__)
    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit is {options.limit}; it must be at least 1")
    make(options, Console(highlight=False, markup=False))


def make(options: Options, console: Console) -> None:
    """Makes the archives that are not there yet as the options want them."""
    options.to.mkdir(parents=True, exist_ok=True)
    for split in options.splits:
        start = time.perf_counter()
        photos = read_annotations(options.annotations, split, options.seed)[: options.limit]
        receipt = f"rehearsal-{VERSION}-{options.seed}-{zlib.crc32(repr(photos).encode()):08x}.tar"
        target = options.to / f"{split}.tar.gz"
        if _made_with(target) == receipt:
            console.print(f"{target} is up to date: {len(photos):,} photos", soft_wrap=True)
            continue
        write_archive(target, split, photos, receipt, seed=options.seed, jobs=options.jobs)
        seconds, size = time.perf_counter() - start, target.stat().st_size
        console.print(
            f"{target}: {len(photos):,} photos, {size:,} bytes, made in {seconds:.0f} s",
            soft_wrap=True,
        )


def read_annotations(folder: Path, split: str, seed: int) -> list[Annotation]:
    """All photos of a split, in order."""
    if split == "extra":
        return _extra(folder, seed)
    with _opened(folder / f"{split}.jsonl.gz") as lines:
        return [Annotation(**json.loads(line)) for line in lines]


def _extra(folder: Path, seed: int) -> list[Annotation]:
    """Extra's numbers; those the file lacks of the published counts are drawn from it. Boxes are train's."""
    rng = np.random.default_rng([seed, SPLIT_SEEDS["extra"]])
    with _opened(folder / "extra_labels.txt.gz") as lines:
        numbers = [line.strip() for line in lines]
    by_length: dict[int, list[str]] = {length: [] for length in EXTRA_LENGTHS}
    for number in numbers:
        by_length.setdefault(len(number), []).append(number)
    for length, count in EXTRA_LENGTHS.items():
        if lacking := count - len(by_length[length]):
            numbers += rng.choice(by_length[length] or ["1" * length], max(0, lacking)).tolist()
    models: dict[int, list[Annotation]] = {}
    for photo in read_annotations(folder, "train", seed):
        if photo.width <= EXTRA_MAX_WIDTH and photo.height <= EXTRA_MAX_HEIGHT:
            models.setdefault(len(photo.label), []).append(photo)
    photos = []
    for place, (number, draw) in enumerate(zip(numbers, rng.random(len(numbers)), strict=True), 1):
        if len(number) not in models:
            raise InputError(
                f"{folder}: train has no number of {len(number)} digits to lend its boxes to {number}"
            )
        model = models[len(number)][int(draw * len(models[len(number)]))]
        photos.append(model._replace(name=f"{place}.png", label=number))
    return photos


def _opened(path: Path) -> io.TextIOWrapper:
    if not path.is_file():
        raise InputError(f"{path}: not found; give the folder of the annotations")
    return io.TextIOWrapper(gzip.open(path))


def _made_with(target: Path) -> str | None:
    """What an archive was made from; its gzip header holds it as the name of the file inside."""
    if not target.exists():
        return None
    with open(target, "rb") as file:
        return file.read(256)[10:].split(b"\0")[0].decode("latin-1")


def write_archive(
    target: Path, split: str, photos: list[Annotation], receipt: str, *, seed: int, jobs: int
) -> None:
    """Writes one split's archive: the photos in order, then digitStruct.mat. It has its name only when complete."""
    unfinished = target.with_name(f".{target.name}.partial")
    try:
        with (
            open(unfinished, "wb") as file,
            gzip.GzipFile(receipt, "wb", compresslevel=1, fileobj=file, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w") as archive,
            multiprocessing.get_context("spawn").Pool(
                jobs, _leave_interrupts_to_the_parent
            ) as pool,
        ):
            drawn = pool.imap(partial(draw, split, seed), enumerate(photos, 1), chunksize=64)
            shown = track(
                drawn, split, total=len(photos), transient=True, disable=not sys.stdout.isatty()
            )
            for photo, content in zip(photos, shown, strict=True):
                _add(archive, f"{split}/{photo.name}", len(content), io.BytesIO(content))
            with tempfile.NamedTemporaryFile(suffix=".mat", dir=target.parent) as mat:
                digit_struct_writer.write(mat.name, map(_record, photos), own_scalars=True)
                with open(mat.name, "rb") as whole:
                    _add(archive, f"{split}/digitStruct.mat", os.path.getsize(mat.name), whole)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def draw(split: str, seed: int, item: tuple[int, Annotation]) -> bytes:
    """The PNG of a photo, given with its place in the split, from 1."""
    place, photo = item
    return crude_photos.png(split, photo, np.random.default_rng([seed, SPLIT_SEEDS[split], place]))


def _record(photo: Annotation) -> Record:
    return Record(photo.name, tuple(map(int, photo.label)), np.array(photo.boxes, np.float64))


def _add(archive: tarfile.TarFile, name: str, size: int, content: io.BufferedIOBase) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = size, PUBLISHED_AT
    archive.addfile(entry, content)


if __name__ == "__main__":
    run_command(main)
