"""Reads labels.csv: the labels, and optional boxes, of the user's own photos.

    file,label,left,top,width,height
    door 1.jpg,1024,120,80,260,90
    gate.png,7,,,,

The last four columns are the box around the whole number, in pixels of the upright photo. All four
may be omitted, in the header or in a row: then the number fills the photo.
"""

import csv
import functools
import io
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from svhn_jax.data import crop, photos
from svhn_jax.data.records import Record, Skipped
from svhn_jax.errors import InputError, printable

NAME = "labels.csv"
COLUMNS = ("file", "label", *crop.SIDES)
MAX_BYTES = 2**26  # a million rows
LONGEST_LABEL = 30  # digits
BOXES_CHECKED = 20  # whether they are corners; the headers of so many photos are read


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
    for line, columns, row in table(path, (COLUMNS, COLUMNS[:2])):
        file = row[0]
        try:
            if len(row) != columns:
                raise ValueError(f"{len(row)} values; the first line has {columns}")
            if not os.path.isfile(path.parent / file):
                file = names().get(plain(file), file)
            _check_file(file, path.parent)
            file, label = str(PurePosixPath(file)), row[1]
            if not (label.isascii() and label.isdigit()) or len(label) > LONGEST_LABEL:
                raise ValueError(f"label {label[:100]!r} is not a number; write its digits")
            record = Record(file, tuple(map(int, label)), boxes(row[2:]), line)
            if lines.setdefault(file, line) != line:
                raise ValueError(f"line {lines[file]} names it already")
            records.append(record)
        except ValueError as error:
            records.append(Skipped(printable(file), str(error), line))
    if not records:
        raise InputError(
            f"{path}: no rows after its first line; write a photo and its number in each"
        )
    good = [record for record in records if isinstance(record, Record) and len(record.boxes)]
    refuse_corners(path, [(path.parent / one.name, one.boxes[0].tolist()) for one in good])
    return records


def table(path: Path, headers: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int, list[str]]]:
    """The rows of a CSV file that are not blank: line, columns of the header, and values.

    Args:
      headers: what may stand in the first line. The separator may be a comma, semicolon or tab.

    Raises:
      InputError: the whole file is not such a table.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes; split it")
    content = path.read_bytes()
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's "Unicode text"
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    stream = io.StringIO(text, newline="")
    first = stream.readline()
    # Excel writes ; in much of Europe, and understands a line such as "sep=;" before the header.
    is_told = first.strip().strip('"').lower().startswith("sep=")
    found = first.strip().strip('"')[4:5] if is_told else ""
    found = found or next((one for one in ";\t" if one in first and "," not in first), ",")
    stream.seek(stream.tell() if is_told else 0)
    rows = csv.reader(stream, strict=True, delimiter=found)
    try:
        header = tuple(cell.strip().lower() for cell in next(rows, []))
        if header not in headers:
            wanted = " or ".join(",".join(one) for one in headers)
            shown = printable(found.join(header)[:100])
            raise InputError(f"{path}: the first line is {shown!r}; it must be {wanted}")
        for row in rows:
            if any(cell.strip() for cell in row):
                yield rows.line_num + is_told, len(header), [cell.strip() for cell in row]
    except csv.Error as error:
        place = f"the row that ends in line {rows.line_num + is_told}"
        raise InputError(f"{path}: {place} is not valid CSV ({error}); correct it") from None


def plain(name: str) -> str:
    """A file name that is equal for / and \\, every letter case, and accents composed or not."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


def _names_in(folder: Path) -> dict[str, str]:
    """The files below a folder by their `plain` names."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in files)
    return {plain(name): name for name in names}


def _check_file(file: str, folder: Path) -> None:
    name = PurePosixPath(file)
    is_bad = not file.isprintable() or len(os.fsencode(file)) > 255
    if not file or is_bad or name.is_absolute() or ".." in name.parts:
        raise ValueError("not the name of a file in the folder")
    if name.suffix.lower() not in photos.SUFFIXES:
        raise ValueError(f"files with the suffix {name.suffix!r} are not read; convert the photo")
    if not os.path.isfile(folder / file):  # Path.is_file raises for a folder without permission
        raise ValueError("no such file in the folder")
    if not os.access(folder / file, os.R_OK):
        raise ValueError("no permission to read it")


def boxes(box: Sequence[str]) -> np.ndarray:
    """float64[1, 4] of left, top, width, height as text; float64[0, 4] if all four are empty.

    Raises:
      ValueError: it is no box.
    """
    if not any(box):
        return np.zeros((0, 4))
    values = []
    for column, text in zip(crop.SIDES, box, strict=True):
        try:
            values.append(float(text))
        except ValueError:
            point = text.replace(",", ".")[:100]
            remedy = (
                f"write {point}" if "," in text else "give all four of the box in pixels, or none"
            )
            raise ValueError(f"{column} is {text[:100]!r}, not a number; {remedy}") from None
    crop.box_of(*values)
    return np.array([values])


def refuse_corners(path: Path, boxed: Sequence[tuple[Path, Sequence[float]]]) -> None:
    """Raises InputError if most boxes (left, top, width, height) are left, top, right, bottom.

    That is: they reach past the edge of their photos, and as corners they would not.
    """
    boxed, corners = boxed[:BOXES_CHECKED], 0
    for file, (left, top, right, bottom) in boxed:
        if right > left and bottom > top:
            try:
                width, height = photos.photo_size(photos.read_file(file))
            except ValueError:
                continue  # found again, and reported, where the photo is read
            is_past = left + right > 1.02 * width or top + bottom > 1.02 * height
            corners += is_past and right <= width and bottom <= height
    if corners > len(boxed) / 2:
        raise InputError(
            f"{path}: its boxes reach past the edges of the photos; the last two columns are "
            "width and height, not the right and bottom edge: subtract left and top"
        )
