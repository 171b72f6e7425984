"""Writes prepared data sets; svhn_jax.data.arrays describes and reads them."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svhn_jax import files, labels
from svhn_jax.data.arrays import ABOUT_PHOTOS, MANIFEST, SPLITS, TRAINED_ON
from svhn_jax.data.crop import Box
from svhn_jax.data.prepare.assign import choose_validation
from svhn_jax.errors import InputError

NAMES = (*TRAINED_ON, *ABOUT_PHOTOS)
ROWS_AT_ONCE = 4096


class Crop(NamedTuple):
    """A cropped photo: its row in the source, image uint8[size, size, 3], box and size in pixels.

    box, size: of the number, and of the whole photo (width, height).
    """

    row: int
    name: str
    digits: tuple[int, ...]
    image: np.ndarray
    box: Box
    size: tuple[int, int]


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which it replaces if the block ends well.

        with building(Path("data/full")) as unfinished:
            (unfinished / "manifest.json").write_text("{}")

    After an error or a kill `folder` is as it was; the next call deletes what a kill left.

    Raises:
      OSError: it cannot be written; names `folder`.
    """
    place = folder.resolve()
    unfinished, old = (place.with_name(f".{place.name}.{end}") for end in ("partial", "old"))
    for path in (unfinished, old):
        shutil.rmtree(path, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if place.exists():
            place.rename(old)
        unfinished.rename(place)
    except OSError as error:
        if not str(error.filename or unfinished).startswith(str(unfinished)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from None
    finally:
        for path in (unfinished, old):
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
        targets = np.array([row.label for row in rows], np.int32)
        others = {
            "labels": targets.reshape(-1, 1 + self._max_digits),
            "names": np.array([row.name.encode() for row in rows], "S"),
            "boxes": np.array([row.box for row in rows], np.float32).reshape(-1, 4),
            "sizes": np.array([row.size for row in rows], np.int32).reshape(-1, 2),
        }
        for name, array in others.items():
            np.save(self._folder / f"{name}.npy", array)
        lengths, counts = np.unique(others["labels"][:, :1], return_counts=True)
        return {
            "examples": len(rows),
            "lengths": {str(n): int(count) for n, count in zip(lengths, counts, strict=True)},
            "sha256": {name: files.sha256(self._folder / f"{name}.npy") for name in NAMES},
        }

    def _sort_images(self, order: list[int]) -> None:
        images = np.load(self._path, mmap_mode="r")
        ordered = self._path.with_suffix(".sorted")
        with open(ordered, "wb") as self._file:
            self._write_header()
            for start in range(0, len(order), ROWS_AT_ONCE):
                self._file.write(images[order[start : start + ROWS_AT_ONCE]].tobytes())
        ordered.replace(self._path)


def write_splits(
    folder: Path,
    settings: dict[str, Any],
    lengths: Mapping[str, np.ndarray],
    crops: Callable[[str], Iterable[Crop]],
) -> dict[str, Any]:
    """Writes the crops of sources to test, or to train and validation.

    Args:
      folder: empty.
      settings: as svhn_jax.data.prepare.build.settings returns them.
      lengths: int[N], the number of digits of each record, by the name of the source.
      crops: the crops of a source, in any order.

    Returns:
      The splits' entries in the manifest.

    Raises:
      InputError: too little space is free.
    """
    size, max_digits = settings["crop"]["size"], settings["max_digits"]
    files.check_space(folder, sum(map(len, lengths.values())) * size * size * 3)
    held_out = choose_validation(
        lengths, settings["validation_fraction"], settings["seed"], max_digits
    )
    are_test = {source == "test" for source in lengths}
    with ExitStack() as opened:
        writers = {
            split: opened.enter_context(
                SplitWriter(folder / split, size=size, max_digits=max_digits)
            )
            for split in SPLITS
            if (split == "test") in are_test
        }
        for order, source in enumerate(lengths):
            for one in crops(source):
                split = "validation" if held_out[source][one.row] else "train"
                label, box = labels.encode(one.digits, max_digits), one.box.left_top_width_height()
                row = Row((order, one.row), f"{source}/{one.name}", label, box, one.size)
                writers["test" if source == "test" else split].add(one.image, row)
        return {split: writer.finish() for split, writer in writers.items()}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes manifest.json, after everything else."""
    files.write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
