"""Writes prepared data sets; svhn_jax.data.arrays describes and reads them."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from svhn_jax import files, labels
from svhn_jax.data import crop
from svhn_jax.data.arrays import ARRAYS, MANIFEST, SPLITS
from svhn_jax.data.records import SOURCE_SPLITS, Record
from svhn_jax.errors import InputError


class Row(NamedTuple):
    """What a split holds of one photo, apart from the image.

    label: int32[1 + D]. box, size: left, top, width, height of the number; width, height of the
    photo; pixels.
    """

    name: str
    label: np.ndarray
    box: tuple[float, float, float, float]
    size: tuple[int, int]


class Crop(NamedTuple):
    """A cropped photo: its row in the source, uint8[size, size, 3], and the rest."""

    row: int
    image: np.ndarray
    about: Row


def crop_photo(
    photo: Image.Image, record: Record, row: int, source: str, settings: dict[str, Any]
) -> Crop:
    """Crops the number of a record; ValueError if its box lies outside the photo.

    row: of the record, in its source. settings: as svhn_jax.data.preparing.settings returns them.
    """
    number, rule = crop.union(record.boxes), settings["crop"]
    image = crop.crop_number(photo, number, margin=rule["margin"], size=rule["size"])
    label = labels.encode(record.digits, settings["max_digits"])
    box = (number or crop.Box(0, 0, *photo.size)).left_top_width_height()
    return Crop(row, image, Row(f"{source}/{record.name}", label, box, photo.size))


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which it replaces if the block ends well.

        with building(Path("data/full")) as unfinished:
            (unfinished / "manifest.json").write_text("{}")

    After an error or a kill `folder` is as it was; the next call deletes what a kill left.
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
    finally:
        for path in (unfinished, old):
            shutil.rmtree(path, ignore_errors=True)


def require_replaceable(folder: Path) -> None:
    """Raises InputError if the folder holds anything but a prepared data set."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    others = found - {MANIFEST, *(f"{split}/{name}.npy" for split in SPLITS for name in ARRAYS)}
    if others or found == {MANIFEST}:
        raise InputError(
            f"{folder}: holds other files than a prepared data set; give a new or an empty folder"
        )


def choose_validation(
    lengths: Mapping[str, np.ndarray], fraction: float, seed: int, max_digits: int
) -> dict[str, np.ndarray]:
    """Chooses the numbers of train and extra that are held out for validation.

    For each length 1 to max_digits it draws the given share, rounded down, by (seed, source,
    length). 5 % of train and extra are 11,782 numbers, as in the seed project. If that share is
    less than one number of every length, one number of the most frequent length is held out, if
    there are at least two numbers.

    Args:
      lengths: int[N], the number of digits of each number, by the name of the source.
      fraction: 0 holds out none.
      seed: of the draw.
      max_digits: longer numbers are never held out.

    Returns:
      bool[N] by the name of the source.
    """
    chosen = {source: np.zeros(len(counts), bool) for source, counts in lengths.items()}
    orders = {}  # rows of each source and length, in the order in which they are held out
    for source in lengths.keys() & {"train", "extra"}:
        for length in range(1, max_digits + 1):
            rows = np.flatnonzero(lengths[source] == length)
            rng = np.random.default_rng([seed, SOURCE_SPLITS.index(source), length])
            orders[source, length] = rng.permutation(rows)
            share = int(len(rows) * fraction + 1e-9)  # 100 x 0.29 is 28.999...
            chosen[source][orders[source, length][:share]] = True
    numbers = sum(len(lengths[source]) for source in {source for source, _ in orders})
    if fraction and numbers > 1 and not any(rows.any() for rows in chosen.values()):
        (source, _), rows = max(sorted(orders.items()), key=lambda item: len(item[1]))
        chosen[source][rows[:1]] = True
    return chosen


def write_splits(
    folder: Path,
    settings: dict[str, Any],
    lengths: Mapping[str, np.ndarray],
    crops: Callable[[str], Iterable[Crop]],
) -> dict[str, Any]:
    """Writes the crops of sources to test, or to train and validation.

    Args:
      folder: empty.
      settings: as svhn_jax.data.preparing.settings returns them.
      lengths: int[N], the number of digits of each record, by the name of the source.
      crops: the crops of a source, in any order.

    Returns:
      The splits' entries in the manifest.

    Raises:
      InputError: too little space is free.
    """
    size, max_digits = settings["crop"]["size"], settings["max_digits"]
    image_bytes = size * size * 3
    files.check_space(folder, 2 * sum(map(len, lengths.values())) * image_bytes)
    held_out = choose_validation(
        lengths, settings["validation_fraction"], settings["seed"], max_digits
    )
    are_test = {source == "test" for source in lengths}
    rows: dict[str, list[tuple[int, int, int, Row]]] = {
        split: [] for split in SPLITS if (split == "test") in are_test
    }
    with tempfile.TemporaryFile(dir=folder) as unsorted:
        for order, source in enumerate(lengths):
            for one in crops(source):
                split = "validation" if held_out[source][one.row] else "train"
                place = (order, one.row, unsorted.tell(), one.about)
                rows["test" if source == "test" else split].append(place)
                unsorted.write(one.image.tobytes())

        def image_at(position: int) -> bytes:
            unsorted.seek(position)
            return unsorted.read(image_bytes)

        entries = {}
        for split, places in rows.items():
            places.sort(key=lambda place: place[:2])
            images = (image_at(position) for _, _, position, _ in places)
            abouts = [about for *_, about in places]
            shape = {"size": size, "max_digits": max_digits}
            entries[split] = write_split(folder / split, images, abouts, **shape)
    return entries


def write_split(
    folder: Path, images: Iterable[bytes], rows: Sequence[Row], *, size: int, max_digits: int
) -> dict[str, Any]:
    """Writes the arrays of one split, in the order given; returns its entry in the manifest.

    images: the bytes of uint8[size, size, 3], one for each row.
    """
    folder.mkdir()
    with open(folder / "images.npy", "wb") as file:
        shape = (len(rows), size, size, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(images)
    others = {
        "labels": np.array([row.label for row in rows], np.int32).reshape(-1, 1 + max_digits),
        "names": np.array([row.name.encode() for row in rows], "S"),
        "boxes": np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        "sizes": np.array([row.size for row in rows], np.int32).reshape(-1, 2),
    }
    for name, array in others.items():
        np.save(folder / f"{name}.npy", array)
    lengths, counts = np.unique(others["labels"][:, :1], return_counts=True)
    return {
        "examples": len(rows),
        "lengths": {str(n): int(count) for n, count in zip(lengths, counts, strict=True)},
        "sha256": {name: files.sha256(folder / f"{name}.npy") for name in ARRAYS},
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes manifest.json, after everything else."""
    files.write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
