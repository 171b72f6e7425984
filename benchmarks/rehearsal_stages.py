"""The stages of a rehearsal, each run as a user runs it, in processes of its own, and measured."""

import json
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import full_size_archives
import measured
import numpy as np
from crude_photos import Annotation
from flaky_server import FlakyServer
from measured import Measurement

from svhn_jax import files, labels
from svhn_jax.data import arrays, crop, photos
from svhn_jax.errors import InputError

HERE = Path(__file__).parent
SPLITS = ("train", "extra", "test")
SEED = 0  # of the archives
CHECKED_CROPS = 200  # of each split
MARGIN, SIZE = 0.3, 64  # preprocess's defaults

Figures = dict[str, Any]
Note = Callable[..., None]


@dataclass(frozen=True)
class Folders:
    """Where things lie; another size, other folders."""

    annotations: Path
    published: Path
    mats: Path
    raw: Path
    arrays: Path

    @classmethod
    def of(cls, annotations: Path, work: Path, limit: int | None) -> "Folders":
        size = "" if limit is None else f"_{limit}"
        return cls(
            annotations,
            *(work / f"{name}{size}" for name in ("published", "mats", "raw", "arrays")),
        )


def run(
    folders: Folders,
    counts: dict[str, int],
    limit: int | None,
    cuts: int,
    say: Callable[[str], None],
) -> dict[str, Figures]:
    """All stages in order; figures by stage."""
    stages: dict[str, Figures] = {}

    def note(
        name: str,
        took: Measurement,
        amount: int = sum(counts.values()),
        unit: str = "photos",
        **more: int,
    ) -> None:
        stages[name] = _figures(took, amount, unit) | more
        say(f"{name}: {took.seconds:,.1f} s")

    how_many = () if limit is None else ("--limit", str(limit))
    make = (
        "--annotations",
        folders.annotations,
        "--to",
        folders.published,
        "--seed",
        str(SEED),
        *how_many,
    )
    note("make archives, if not there", measured.run((HERE / "full_size_archives.py", *make)))
    for folder in (folders.raw, folders.arrays):
        shutil.rmtree(folder, ignore_errors=True)
    _download(folders, cuts, note)
    _parse(folders, counts, note)
    preprocess = ("-m", "svhn_jax.preprocess", "--raw", folders.raw, "--to", folders.arrays)
    note("preprocess", measured.run(preprocess))
    note("preprocess again: up to date", measured.run(preprocess))
    took = measured.run((HERE / "single_stages.py", "open", folders.arrays))
    took.seconds = result(took)["seconds"]
    note("open the arrays", took)
    return stages


def _figures(took: Measurement, amount: int, unit: str) -> Figures:
    memory = {
        f"{field}_mb": round(getattr(took, field) / 1e6)
        for field in ("tree_rss", "tree_pss", "tree_anonymous", "largest_rss")
    }
    return {
        "amount": amount,
        "unit": unit,
        "seconds": round(took.seconds, 4),
        "per_second": round(amount / took.seconds, 1),
        "cpu_seconds": round(took.cpu_seconds, 2),
        **memory,
        "processes": took.processes,
    }


def result(took: Measurement) -> dict[str, float]:
    """What a stage of single_stages.py printed."""
    values: dict[str, float] = json.loads(took.output.splitlines()[-1])
    return values


def _download(folders: Folders, cuts: int, note: Note) -> None:
    """The archives through a server that cuts; resumed, verified, and verified once more."""
    archives = [folders.published / f"{split}.tar.gz" for split in SPLITS]
    size = sum(archive.stat().st_size for archive in archives)
    checksums = folders.published / "checksums.txt"
    checksums.write_text(
        "".join(
            f"{files.sha256(archive)} {archive.stat().st_size} {archive.name}\n"
            for archive in archives
        )
    )
    with _serving(folders.published, size // cuts) as server:
        source = ("--base-url", f"http://127.0.0.1:{server.server_port}", "--checksums", checksums)
        download = ("-m", "svhn_jax.download", "--to", folders.raw, *source)
        took = measured.run(download)
        note("download", took, round(size / 1e6), "MB", cuts=server.cuts)
        note("download again: verify", measured.run(download), round(size / 1e6), "MB")


@contextmanager
def _serving(folder: Path, cut_every_bytes: int) -> Iterator[FlakyServer]:
    server = FlakyServer(folder, 0, cut_every_bytes, seed=0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _parse(folders: Folders, counts: dict[str, int], note: Note) -> None:
    """digitStruct.mat alone, out of the archive, in the page cache; the time is without Python's start."""
    for split in SPLITS:
        mat = extract_mat(folders, split)
        took = measured.run((HERE / "single_stages.py", "parse", mat))
        found = result(took)
        if (found["count"], found["bad"]) != (counts[split], 0):
            raise InputError(f"{mat}: {found['count']} records, {found['bad']} of them bad")
        took.seconds = found["seconds"]
        note(
            f"parse {split}'s digitStruct.mat",
            took,
            counts[split],
            "records",
            mat_bytes=mat.stat().st_size,
        )


def extract_mat(folders: Folders, split: str) -> Path:
    """The split's digitStruct.mat as a file; where it was extracted before, that one."""
    archive, mat = folders.published / f"{split}.tar.gz", folders.mats / f"{split}.mat"
    if mat.is_file() and mat.stat().st_mtime > archive.stat().st_mtime:
        return mat
    mat.parent.mkdir(exist_ok=True)
    unfinished = mat.with_suffix(".partial")
    with tarfile.open(archive, "r|gz") as tar, open(unfinished, "wb") as file:
        for member in tar:
            content = tar.extractfile(member)
            if content and member.name.endswith("digitStruct.mat"):
                shutil.copyfileobj(content, file, 2**20)
    unfinished.rename(mat)
    return mat


def check(folder: Path, annotations: dict[str, list[Annotation]]) -> Figures:
    """Every label of the arrays against the annotations, and some crops against the photos drawn anew.

    Raises:
      InputError: one is wrong, or is missing.
    """
    rows, crops = 0, 0
    places = {
        split: {photo.name: place for place, photo in enumerate(of, 1)}
        for split, of in annotations.items()
    }
    for split in arrays.read_manifest(folder)["splits"]:
        images, targets, names, *_ = arrays.load_split(folder, split)
        step = max(1, len(names) // CHECKED_CROPS)
        for row, (target, name) in enumerate(zip(np.asarray(targets), names.tolist(), strict=True)):
            source, _, file = name.decode().partition("/")
            photo = annotations[source][places[source][file] - 1]
            if not np.array_equal(target, labels.encode_text(photo.label)):
                raise InputError(f"{folder}: {split}, row {row}: {target} for {photo}")
            if row % step == 0:
                content = full_size_archives.draw(source, SEED, (places[source][file], photo))
                number = crop.union(np.array(photo.boxes, float))
                expected = crop.crop_number(
                    photos.decode_photo(content), number, margin=MARGIN, size=SIZE
                )
                if not np.array_equal(images[row], expected):
                    raise InputError(
                        f"{folder}: {split}, row {row}: another crop than that of {photo}"
                    )
                crops += 1
        rows += len(names)
    if rows != sum(map(len, annotations.values())):
        raise InputError(f"{folder}: {rows} rows of {sum(map(len, annotations.values()))} photos")
    return {"labels_right": rows, "crops_right": crops}
