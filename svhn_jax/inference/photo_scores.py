"""How well a program, ours or another, reads whole photos, no box given."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.data.photos import SUFFIXES
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.sources.find import find_source
from svhn_jax.errors import InputError
from svhn_jax.finding import material
from svhn_jax.inference import scores
from svhn_jax.inference.photo_reader import decode

SURE = 0.95  # from this confidence on, a reading is taken without a look at the photo
HEADERS = (("file", "label", "layout"), labels_csv.COLUMNS, labels_csv.COLUMNS[:2])


class LabelledPhoto(NamedTuple):
    """An upright RGB photo and its number; "" for a picture without one. layout: "" if unknown."""

    name: str
    photo: Image.Image
    number: str
    layout: str = ""


class PhotoScore(NamedTuple):
    """The reading of one photo, its confidence, 0 to 1, and how long it took."""

    name: str
    number: str
    layout: str
    reading: str
    confidence: float
    seconds: float


def measure(
    read: Callable[[Image.Image], tuple[str, float]], photos: Iterable[LabelledPhoto]
) -> list[PhotoScore]:
    """Reads each photo with a function that gives its number ("" for none) and confidence.

    reader = svhn_jax.load()
    read = lambda photo: reader.read(photo)[:2]
    summary(measure(read, photos_of(Path("photos"))))["share"]
    """
    measured = []
    for name, photo, number, layout in photos:
        started = time.perf_counter()
        reading, confidence = read(photo)
        seconds = time.perf_counter() - started
        measured.append(PhotoScore(name, number, layout, reading, confidence, seconds))
    return measured


def summary(measured: list[PhotoScore]) -> dict[str, Any]:
    """The scores as JSON values.

    photos, right, share, low, high: whole numbers right, with the 95 % Wilson interval; of a
      picture without a number, it is right to find none.
    none: photos in which no number was found. ms: median of a photo, decoded.
    by_length, by_layout: [right, photos] of each. calibration_error, coverage_98: see `scores`.
    sure, sure_right: readings of at least 0.95 confidence, and how many of them are right.
    """
    is_right = np.array([one.reading == one.number for one in measured], bool)
    confidence = np.array([one.confidence for one in measured])
    groups: dict[str, dict[str, list[int]]] = {"by_length": {}, "by_layout": {}}
    for one, right in zip(measured, is_right.tolist(), strict=True):
        for name, key in (("by_length", str(len(one.number))), ("by_layout", one.layout or "any")):
            counts = groups[name].setdefault(key, [0, 0])
            counts[0] += right
            counts[1] += 1
    is_sure = confidence >= SURE
    interval = scores.wilson_interval(int(is_right.sum()), len(measured))
    return {
        "photos": len(measured),
        "right": int(is_right.sum()),
        **interval._asdict(),
        "none": sum(not one.reading for one in measured),
        **{name: dict(sorted(counts.items())) for name, counts in groups.items()},
        "calibration_error": scores.calibration_error(confidence, is_right),
        "coverage_98": scores.coverage(confidence, is_right, 0.98),
        "sure": int(is_sure.sum()),
        "sure_right": int((is_sure & is_right).sum()),
        "ms": 1000 * float(np.median([one.seconds for one in measured])) if measured else None,
    }


def photos_of(folder: Path, split: str = "test") -> Iterator[LabelledPhoto]:
    """The photos of a folder with labels.csv, else those of SVHN's archives in it; no boxes.

    labels.csv: file,label, and layout or boxes, which are not used. split, of the archives: test,
    or validation, the part of train that no shipped network was trained on.

    Raises:
      InputError: there are none, or a photo cannot be read.
    """
    table = folder / labels_csv.NAME
    if not table.is_file():
        held_out = material.validation(folder) if split == "validation" else None
        for example in held_out or material.examples(find_source(folder, split)):
            yield LabelledPhoto(example.name, example.photo, example.number)
        return
    for line, row in labels_csv.table(table, HEADERS):
        name, number, layout = row["file"], row["label"], row.get("layout", "")
        if not (number.isascii() and number.isdigit()):
            raise InputError(f"{table}: line {line}: label {number!r} is not a number")
        yield LabelledPhoto(name, decode(folder / name), number, layout)


def empty_pictures(folder: Path) -> Iterator[LabelledPhoto]:
    """The pictures without a number in a folder, by name; InputError if there is none."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no pictures in it; give a folder of pictures without a number")
    for path in paths:
        yield LabelledPhoto(path.name, decode(path), "")
