"""Writes prepared data sets; svhn_jax.data.arrays describes and reads them."""

import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from svhn_jax import files
from svhn_jax.data.arrays import ABOUT_PHOTOS, MANIFEST, SPLITS, TRAINED_ON
from svhn_jax.errors import InputError

NAMES = (*TRAINED_ON, *ABOUT_PHOTOS)
ENDS = ("partial", "old")  # of the folders beside the one that is written
ROWS_AT_ONCE = 4096


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which it replaces if the block ends well.

        with building(Path("data/full")) as unfinished:
            (unfinished / "manifest.json").write_text("{}")

    After an error or a kill `folder` is as it was. Two processes that write one folder at once
    have places of their own; the last one's stays.

    Raises:
      OSError: it cannot be written; names `folder`.
    """
    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    _delete_leftovers(place)
    unfinished, old = (place.with_name(f".{place.name}.{os.getpid()}.{end}") for end in ENDS)
    unfinished.mkdir()
    try:
        yield unfinished
        if place.exists():
            place.rename(old)
        unfinished.rename(place)
    except OSError as error:
        named = [str(one) for one in (error.filename, error.filename2) if one]
        if named and not any(one.startswith(str(unfinished)) for one in named):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from None
    finally:
        for path in (unfinished, old):
            shutil.rmtree(path, ignore_errors=True)


def _delete_leftovers(place: Path) -> None:
    """Deletes what processes of this name that were killed have left beside `place`."""
    for path in place.parent.glob(f".{glob.escape(place.name)}.*"):
        number, _, end = path.name.removeprefix(f".{place.name}.").partition(".")
        if end in ENDS and number.isdigit() and not psutil.pid_exists(int(number)):
            if end == "old" and not place.exists():  # killed between the two renames
                path.rename(place)
            shutil.rmtree(path, ignore_errors=True)


def require_replaceable(folder: Path) -> None:
    """Raises InputError if the folder holds anything but a prepared data set."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    others = found - {MANIFEST, *(f"{split}/{name}.npy" for split in SPLITS for name in NAMES)}
    if others or found == {MANIFEST}:
        raise InputError(
            f"{folder}: holds other files than a prepared data set; give a new or an empty folder"
        )


class Row(NamedTuple):
    """What a split holds of one photo, apart from the image.

    order: rows are sorted by it. label: int32[1 + D].
    box, size: left, top, width, height of the number; width, height of the photo; pixels.
    """

    order: tuple[int, int]
    name: str
    label: np.ndarray
    box: tuple[float, float, float, float]
    size: tuple[int, int]


class SplitWriter:
    """Writes the arrays of one split: the images as they come, the rest at the end.

    with SplitWriter(folder / "train", size=64, max_digits=5) as split:
        split.add(image, row)
        entry = split.finish()
    """

    def __init__(self, folder: Path, *, size: int, max_digits: int):
        folder.mkdir()
        self._folder, self._size, self._max_digits = folder, size, max_digits
        self._rows: list[Row] = []
        self._path = folder / "images.npy"
        self._file = open(self._path, "wb")  # noqa: SIM115 - closed by __exit__
        self._write_header()

    def __enter__(self) -> "SplitWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write_header(self) -> None:
        """numpy pads the header, so that it can be written again with the final number of rows."""
        shape = (len(self._rows), self._size, self._size, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def add(self, image: np.ndarray, row: Row) -> None:
        """Appends a row; image: uint8[size, size, 3]."""
        self._file.write(image.tobytes())
        self._rows.append(row)

    def finish(self) -> dict[str, Any]:
        """Sorts the rows and writes the other arrays; returns the split's entry in the manifest."""
        self._file.seek(0)
        self._write_header()
        self._file.close()
        order = sorted(range(len(self._rows)), key=lambda row: self._rows[row].order)
        if order != list(range(len(order))):
            self._sort_images(order)
        rows = [self._rows[row] for row in order]
        save_arrays(
            self._folder,
            labels=np.array([row.label for row in rows], np.int32).reshape(
                -1, 1 + self._max_digits
            ),
            names=np.array([row.name.encode() for row in rows], "S"),
            boxes=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
            sizes=np.array([row.size for row in rows], np.int32).reshape(-1, 2),
        )
        return entry_of(self._folder)

    def _sort_images(self, order: list[int]) -> None:
        images = np.load(self._path, mmap_mode="r")
        ordered = self._path.with_suffix(".sorted")
        with open(ordered, "wb") as self._file:
            self._write_header()
            for start in range(0, len(order), ROWS_AT_ONCE):
                self._file.write(images[order[start : start + ROWS_AT_ONCE]].tobytes())
        ordered.replace(self._path)


def save_arrays(folder: Path, **arrays: np.ndarray) -> None:
    """Writes arrays as NAME.npy into the folder of a split."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def entry_of(folder: Path) -> dict[str, Any]:
    """The entry in the manifest of a split whose five arrays are written."""
    labels = np.load(folder / "labels.npy", mmap_mode="r")
    lengths, counts = np.unique(labels[:, :1], return_counts=True)
    return {
        "examples": len(labels),
        "lengths": {str(length): int(count) for length, count in zip(lengths, counts, strict=True)},
        "sha256": {name: files.sha256(folder / f"{name}.npy") for name in NAMES},
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes manifest.json, after everything else."""
    files.write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


@contextmanager
def open_splits(
    folder: Path, sources: Mapping[str, int], size: int, max_digits: int
) -> Iterator[dict[str, SplitWriter]]:
    """Yields the writers of the splits that the sources go to: test, or train and validation.

    sources: the number of photos of each. size: side of the images.

    Raises:
      InputError: too little space is free.
    """
    files.check_space(folder, sum(sources.values()) * size * size * 3)
    names = {"test"} & sources.keys()
    names |= {"train", "validation"} if sources.keys() - {"test"} else set()
    with ExitStack() as opened:
        yield {
            split: opened.enter_context(
                SplitWriter(folder / split, size=size, max_digits=max_digits)
            )
            for split in SPLITS
            if split in names
        }
