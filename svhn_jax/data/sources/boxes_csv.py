"""Reads a table of boxes, for photos whose number is unknown.

    file,left,top,width,height
    door 1.jpg,120,80,260,90
    gate.png,,,,

The boxes are as in labels.csv, which is read, too, without its labels: around the whole number, in
pixels of the upright photo; a row without a box says that the number fills the photo. A file is a
path from the table's folder, from the current one, or from that of the photos.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from svhn_jax.data.crop import SIDES
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.sources.named import STDIN, Named
from svhn_jax.errors import InputError, printable

COLUMNS = ("file", *SIDES)

Sides = tuple[float, float, float, float]


def read(path: Path, photos: Sequence[Named]) -> dict[int, Sides | None]:
    """The boxes of photos, by their position in `photos`; None: the number fills the photo.

    Raises:
      InputError: it is no such table, rows cannot be used (with each in the details), two rows name
        one photo, no row names one of these, or the boxes are corners.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; its first line must be {','.join(COLUMNS)}")
    exact: dict[str, list[int]] = {}
    for index, photo in enumerate(photos):
        if photo.name != STDIN:
            exact.setdefault(os.path.realpath(photo.name), []).append(index)
    places = {labels_csv.plain(place): indices for place, indices in exact.items()} | exact
    named = (photo.folder or os.path.dirname(photo.name) for photo in photos)
    folders = dict.fromkeys((os.path.dirname(path), "", *named))
    lines: dict[int, int] = {}
    found: dict[int, Sides | None] = {}
    bad: list[str] = []
    for line, row in labels_csv.table(path, (COLUMNS, labels_csv.COLUMNS)):
        try:
            [box] = labels_csv.boxes_in(row).tolist() or [None]
            paths = [os.path.realpath(os.path.join(folder, row["file"])) for folder in folders]
            keys = (key for key in (*paths, *map(labels_csv.plain, paths)) if key in places)
            for index in places.get(next(keys, ""), ()):
                if lines.setdefault(index, line) != line:
                    raise ValueError(f"line {lines[index]} names it already")
                found[index] = tuple(box) if box else None
        except ValueError as error:
            bad.append(f"line {line}: {printable(row['file'])}: {error}")
    if bad:
        raise InputError(f"{path}: {len(bad)} rows cannot be used; correct or delete them", bad)
    if not found:
        raise InputError(
            f"{path}: no row names a photo that is read; "
            "its column file has paths from the table's folder, or from that of the photos"
        )
    boxed = [(Path(photos[index].name), box) for index, box in found.items() if box]
    labels_csv.refuse_corners(path, boxed)
    return found
