"""Reads a table of boxes, for photos whose number is unknown.

    file,left,top,width,height
    door 1.jpg,120,80,260,90
    gate.png,,,,

The boxes are as in labels.csv, which is read, too, without its labels: around the whole number, in
pixels of the upright photo; a row without a box says that the number fills the photo. A file is a
path from the table's folder, from the current one, or from that of the photos.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from svhn_jax.data.crop import SIDES
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.sources.labels_csv import plain
from svhn_jax.data.sources.named import STDIN, Named
from svhn_jax.errors import InputError, printable

COLUMNS = ("file", *SIDES)

Sides = tuple[float, float, float, float]


class BoxRow(NamedTuple):
    """A photo's name and the number's box, (left, top, width, height); None: it fills the photo."""

    line: int
    file: str
    box: Sides | None


def read(path: Path) -> list[BoxRow]:
    """The rows of a table of boxes.

    Raises:
      InputError: it is no such table; or rows cannot be used, with each in the details.
    """
    rows: list[BoxRow] = []
    bad: list[str] = []
    if not path.is_file():
        raise InputError(f"{path}: no such file; its first line must be {','.join(COLUMNS)}")
    for line, columns, values in labels_csv.table(path, (COLUMNS, labels_csv.COLUMNS)):
        try:
            if len(values) != columns:
                raise ValueError(f"{len(values)} values; the first line has {columns}")
            if not values[0] or "\0" in values[0]:
                raise ValueError("no name of a file")
            [box] = labels_csv.boxes(values[-4:]).tolist() or [None]
            rows.append(BoxRow(line, values[0], tuple(box) if box else None))
        except ValueError as error:
            bad.append(f"line {line}: {printable(values[0])}: {error}")
    if bad:
        raise InputError(f"{path}: {len(bad)} rows cannot be used; correct or delete them", bad)
    return rows


def match(path: Path, rows: Sequence[BoxRow], photos: Sequence[Named]) -> dict[int, Sides | None]:
    """The boxes of photos, by their position in `photos`, from the rows of the table at `path`.

    Raises:
      InputError: two rows name one photo, no row names one of these, or the boxes are corners.
    """
    real = functools.cache(os.path.realpath)

    def place(file: str) -> str:
        """Its absolute path: links to its folder are resolved, not a link that is the file."""
        return os.path.join(real(os.path.dirname(file)), os.path.basename(file))

    places: dict[str, set[int]] = {}
    for index, photo in enumerate(photos):
        if photo.name != STDIN:  # found by its name, and by what it is a link to
            for one in (place(photo.name), os.path.realpath(photo.name)):
                places.setdefault(one, set()).add(index)
    for one in [*places]:
        places.setdefault(plain(one), places[one])
    named_folders = (photo.folder or os.path.dirname(photo.name) for photo in photos)
    folders = [*dict.fromkeys(map(real, (os.path.dirname(path), "", *named_folders)))]
    found: dict[int, BoxRow] = {}
    for row in rows:
        files = [row.file, row.file.replace("\\", "/")]
        exact = [place(os.path.join(folder, file)) for file in files for folder in folders]
        keys = (key for key in (*exact, *map(plain, exact)) if key in places)
        for index in places.get(next(keys, ""), ()):
            if index in found:
                lines = f"lines {found[index].line} and {row.line}"
                raise InputError(f"{path}: {lines} name {printable(row.file)}; delete one")
            found[index] = row
    if not found:
        raise InputError(
            f"{path}: none of its {len(rows)} rows names a photo that is read; "
            "its column file has paths from the table's folder, or from that of the photos"
        )
    boxed = [(Path(photos[index].name), row.box) for index, row in found.items() if row.box]
    labels_csv.refuse_corners(path, boxed)
    return {index: row.box for index, row in found.items()}
