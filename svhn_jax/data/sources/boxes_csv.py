"""Reads a table of boxes, for photos whose number is unknown.

    file,left,top,width,height
    door 1.jpg,120,80,260,90
    gate.png,,,,

The boxes are as in labels.csv (svhn_jax.data.sources.labels_csv), which is read, too, without its labels: around the whole
number, in pixels of the upright photo; a row without a box says that the number fills the photo. A file is a path from the
table's folder, from the current one, or from that of the photos.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from svhn_jax.data.crop import SIDES
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.sources.named import STDIN, Named
from svhn_jax.errors import InputError, printable

COLUMNS = ("file", *SIDES)

Sides = tuple[float, float, float, float]


class Row(NamedTuple):
    """A photo's name and the number's box, (left, top, width, height); None: the number fills the photo."""

    line: int
    file: str
    box: Sides | None


def read(path: Path) -> list[Row]:
    """The rows of a table of boxes.

    Raises:
      InputError: it is no such table; or rows cannot be used, with each in the details.
    """
    rows: list[Row] = []
    bad: list[str] = []
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; write {','.join(COLUMNS)} in its first line, and a photo in each row"
        )
    for line, columns, values in labels_csv.table(path, (COLUMNS, labels_csv.COLUMNS)):
        try:
            if len(values) != columns:
                raise ValueError(f"{len(values)} values; the first line has {columns}")
            if not values[0] or "\0" in values[0]:
                raise ValueError("no name of a file")
            [box] = labels_csv.boxes(values[-4:]).tolist() or [None]
            rows.append(Row(line, values[0], tuple(box) if box else None))
        except ValueError as error:
            bad.append(f"line {line}: {printable(values[0])}: {error}")
    if bad:
        raise InputError(f"{path}: {len(bad)} rows cannot be used; correct or delete them", bad)
    return rows


def match(path: Path, rows: Sequence[Row], photos: Sequence[Named]) -> dict[int, Sides | None]:
    """The boxes of photos, by their position in `photos`, from the rows of the table at `path`.

    Raises:
      InputError: two rows name one photo, or no row names one of these.
    """
    real = functools.cache(os.path.realpath)

    def in_real_folder(file: str) -> str:
        """The absolute path of a file: links to its folder are resolved, a link that is the file itself is not."""
        return os.path.join(real(os.path.dirname(file)), os.path.basename(file))

    places: dict[str, set[int]] = {}
    for index, photo in enumerate(photos):
        if photo.name != STDIN:  # found by its name, and by what it is a link to
            for place in (in_real_folder(photo.name), os.path.realpath(photo.name)):
                places.setdefault(place, set()).add(index)
    named_folders = (photo.folder or os.path.dirname(photo.name) for photo in photos)
    folders = [
        real(folder) for folder in dict.fromkeys((os.path.dirname(path), "", *named_folders))
    ]
    found: dict[int, Sides | None] = {}
    lines: dict[int, int] = {}
    for row in rows:
        candidates = (in_real_folder(os.path.join(folder, row.file)) for folder in folders)
        for index in next((places[one] for one in candidates if one in places), ()):
            if index in lines:
                raise InputError(
                    f"{path}: line {row.line} names {printable(row.file)}, as line {lines[index]} does"
                )
            lines[index], found[index] = row.line, row.box
    if not found:
        raise InputError(
            f"{path}: none of its {len(rows)} rows names a photo that is read; "
            "its column file has paths from the table's folder, or from the folder of the photos"
        )
    return found
