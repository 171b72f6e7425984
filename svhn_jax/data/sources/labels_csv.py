"""Reads labels.csv: the labels, and optional boxes, of the user's own photos; and tables of boxes.

    file,label,left,top,width,height
    door 1.jpg,1024,120,80,260,90
    gate.png,7,,,,

The last four columns are the box around the whole number, in pixels of the upright photo. All four
may be omitted, in the header or in a row: then the number fills the photo.
"""

import csv
import functools
import io
import itertools
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from svhn_jax.data import crop, photos
from svhn_jax.data.records import Record, Skipped
from svhn_jax.errors import InputError, printable

NAME = "labels.csv"
COLUMNS = ("file", "label", *crop.SIDES)
BOX_COLUMNS = ("file", *crop.SIDES)
LONGEST_LABEL = 30  # digits
BOXES_CHECKED = 20  # whether they are corners; the headers of so many photos are read

Sides = tuple[float, float, float, float]


def read(path: Path) -> list[Record | Skipped]:
    """The rows of a labels.csv in order, each with its line number; of a bad row, the reason.

        records = read(Path("myphotos/labels.csv"))
        good = [record for record in records if isinstance(record, Record)]

    Raises:
      InputError: the whole file is not such a table.
    """
    records: list[Record | Skipped] = []
    lines: dict[str, int] = {}
    names = functools.cache(lambda: _names_in(path.parent))
    for line, row in table(path, (COLUMNS, COLUMNS[:2])):
        file, label = row["file"], row["label"]
        try:
            if not os.path.isfile(path.parent / file):
                file = names().get(_plain(file), file)
            file = str(PurePosixPath(file))
            if not file.isprintable() or file.startswith("/") or ".." in file.split("/"):
                raise ValueError("not the name of a file in the folder")
            if not os.path.isfile(path.parent / file):
                raise ValueError("no such file in the folder")
            if not (label.isascii() and label.isdigit()) or len(label) > LONGEST_LABEL:
                raise ValueError(f"label {label[:100]!r} is not a number; write its digits")
            record = Record(file, tuple(map(int, label)), boxes_in(row), line)
            if lines.setdefault(file, line) != line:
                raise ValueError(f"line {lines[file]} names it already")
            records.append(record)
        except ValueError as error:
            records.append(Skipped(printable(file), str(error), line))
    if not records:
        raise InputError(f"{path}: no rows; write a photo and its number in each")
    good = [record for record in records if isinstance(record, Record) and len(record.boxes)]
    _refuse_corners(path, [(path.parent / one.name, one.boxes[0].tolist()) for one in good])
    return records


def read_boxes(path: Path, names: Sequence[str]) -> dict[int, Sides | None]:
    """A table of boxes: file,left,top,width,height, or a labels.csv, whose labels are not used.

    A file is a path, or the end of one. Rows of other photos are passed over.

    Args:
      names: the paths of photos.

    Returns:
      The boxes of photos, by their position in `names`; None: the number fills the photo.

    Raises:
      InputError: it is no such table, rows cannot be used (with each in the details), or no row
        names one of the photos.
    """
    places: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        parts = _plain(os.path.abspath(name)).split("/")
        for start in range(len(parts)):
            places.setdefault("/".join(parts[start:]), []).append(index)
    found: dict[int, Sides | None] = {}
    bad: list[str] = []
    for line, row in table(path, (BOX_COLUMNS, COLUMNS)):
        name = posixpath.normpath(_plain(row["file"])).replace("../", "")
        try:
            [box] = boxes_in(row).tolist() or [None]
            for index in places.get(name, ()):
                if index in found:
                    raise ValueError("another row names this photo already")
                found[index] = tuple(box) if box else None
        except ValueError as error:
            bad.append(f"line {line}: {printable(row['file'])}: {error}")
    if bad:
        raise InputError(f"{path}: {len(bad)} rows cannot be used; correct or delete them", bad)
    if not found:
        raise InputError(f"{path}: no row names a photo that is read; correct its column file")
    _refuse_corners(path, [(Path(names[index]), box) for index, box in found.items() if box])
    return found


def table(path: Path, headers: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file that are not blank: the line, and the values by column.

    A value that is missing is ""; values beyond the last column are in the column "".

    Args:
      headers: what may stand in the first line. The separator may be a comma, semicolon or tab.

    Raises:
      InputError: the whole file is not such a table.
    """
    wanted = " or ".join(",".join(one) for one in headers)
    if not path.is_file():
        raise InputError(f"{path}: no such file; its first line must be {wanted}")
    content = path.read_bytes()
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's "Unicode text"
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    stream = io.StringIO(text, newline="")
    # Excel writes ; in much of Europe, and understands a line such as "sep=;" before the header.
    first = stream.readline().rstrip("\r\n").strip('"')
    has_separator = first.lower().startswith("sep=")
    if not has_separator:
        stream.seek(0)
    guess = next((one for one in ";\t" if one in first and "," not in first), ",")
    separator = first[4:5] or "," if has_separator else guess
    rows = csv.reader(stream, strict=True, delimiter=separator)
    try:
        header = tuple(cell.strip().lower() for cell in next(rows, []))
        if header not in headers:
            shown = printable(separator.join(header)[:100])
            raise InputError(f"{path}: the first line is {shown!r}; it must be {wanted}")
        for row in rows:
            values = [cell.strip() for cell in row]
            if any(values):
                named = itertools.zip_longest(header, values, fillvalue="")
                yield rows.line_num + has_separator, dict(named)
    except csv.Error as error:
        place = f"the row that ends in line {rows.line_num + has_separator}"
        raise InputError(f"{path}: {place} is not valid CSV ({printable(str(error))})") from None


def _plain(name: str) -> str:
    """A file name that is equal for / and \\, every letter case, and accents composed or not."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


def _names_in(folder: Path) -> dict[str, str]:
    """The files below a folder by their `_plain` names."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in files)
    return {_plain(name): name for name in names}


def boxes_in(row: Mapping[str, str]) -> np.ndarray:
    """float64[1, 4] of a row's left, top, width, height; float64[0, 4] if all four are empty.

    Raises:
      ValueError: it is no box.
    """
    if row.get(""):
        raise ValueError("more values than columns")
    box = [row.get(side, "") for side in crop.SIDES]
    if not any(box):
        return np.zeros((0, 4))
    try:
        values = [float(text) for text in box]
    except ValueError:
        shown = printable(";".join(box)[:100])
        raise ValueError(
            f"the box is {shown}: give four numbers in pixels, or none; a decimal point, no comma"
        ) from None
    crop.box_of(*values)
    return np.array([values])


def _refuse_corners(path: Path, boxed: Sequence[tuple[Path, Sequence[float]]]) -> None:
    """Raises InputError if most boxes (left, top, width, height) are left, top, right, bottom.

    That is: they reach past the edge of their photos, and as corners they would not.
    """
    boxed, corners = boxed[:BOXES_CHECKED], 0
    for file, (left, top, right, bottom) in boxed:
        try:
            width, height = photos.photo_size(photos.read_file(file))
        except ValueError:
            continue  # found again, and reported, where the photo is read
        is_past = left + right > 1.02 * width or top + bottom > 1.02 * height
        corners += is_past and left < right <= width and top < bottom <= height
    if corners > len(boxed) / 2:
        raise InputError(
            f"{path}: its boxes reach past the edges of the photos; the last two columns are "
            "width and height, not the right and bottom edge: subtract left and top"
        )
