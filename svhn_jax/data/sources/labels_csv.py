"""Reads labels.csv: the labels, and optional boxes, of the user's own photos.

    file,label,left,top,width,height
    door 1.jpg,1024,120,80,260,90
    gate.png,7,,,,

The last four columns are the box around the whole number, in pixels of the upright photo, as viewers
show it after the EXIF orientation is applied. All four may be omitted, in the header or in a row: then the
number fills the photo.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from svhn_jax.data import crop
from svhn_jax.data.photos import SUFFIXES
from svhn_jax.data.records import Record, Skipped
from svhn_jax.errors import InputError, printable

NAME = "labels.csv"
COLUMNS = ("file", "label", *crop.SIDES)
MAX_BYTES = 2**26  # a million rows
LONGEST_LABEL = 30  # digits


def read(path: Path) -> list[Record | Skipped]:
    """The rows of a labels.csv in order, each with its line number; for a row that cannot be used, the reason.

        records = read(Path("myphotos/labels.csv"))
        good = [record for record in records if isinstance(record, Record)]

    Raises:
      InputError: the whole file is not such a table.
    """
    records: list[Record | Skipped] = []
    lines: dict[str, int] = {}
    for line_number, columns, row in table(path, (COLUMNS, COLUMNS[:2])):
        record = _record(row, columns, path.parent, line_number)
        line = (
            lines.setdefault(record.name, record.line)
            if isinstance(record, Record)
            else record.line
        )
        is_second = line != record.line
        records.append(
            Skipped(record.name, f"line {line} names it already", record.line)
            if is_second
            else record
        )
    if not records:
        raise InputError(
            f"{path}: no rows after its first line; write a photo and its number in each row"
        )
    return records


def table(path: Path, headers: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int, list[str]]]:
    """The rows of a CSV file that are not blank: line, number of columns in the first line, and values.

    Args:
      headers: what may stand in the first line.

    Raises:
      InputError: the whole file is not such a table.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    first = text.partition("\n")[0]
    # Excel writes ; in much of Europe.
    delimiter = next((one for one in ";\t" if one in first and "," not in first), ",")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = tuple(cell.strip().lower() for cell in next(rows, []))
        if header not in headers:
            wanted = " or ".join(",".join(one) for one in headers)
            raise InputError(f"{path}: line 1 is {','.join(header)[:100]!r}; it must be {wanted}")
        for row in rows:
            if any(cell.strip() for cell in row):
                yield rows.line_num, len(header), [cell.strip() for cell in row]
    except csv.Error as error:
        raise InputError(
            f"{path}: the row that ends in line {rows.line_num} is not valid CSV ({error}); correct it"
        ) from None


def _record(row: list[str], columns: int, folder: Path, line: int) -> Record | Skipped:
    file = row[0]
    name = str(PurePosixPath(file)) if file else ""
    try:
        if len(row) != columns:
            raise ValueError(f"{len(row)} values; the first line has {columns}")
        _check_file(file, folder)
        label, *box = row[1:]
        if not (label.isascii() and label.isdigit()) or len(label) > LONGEST_LABEL:
            raise ValueError(f"label {label[:100]!r} is not a number; write its digits")
        return Record(name, tuple(map(int, label)), boxes(box), line)
    except ValueError as error:
        return Skipped(printable(name), str(error), line)


def _check_file(file: str, folder: Path) -> None:
    name = PurePosixPath(file)
    if (
        not file
        or name.is_absolute()
        or ".." in name.parts
        or not file.isprintable()
        or len(os.fsencode(file)) > 255
    ):
        raise ValueError("not the name of a file in the folder")
    if name.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"files with the suffix {name.suffix!r} are not read; convert the photo to PNG or JPEG"
        )
    if not os.path.isfile(
        folder / file
    ):  # Path.is_file raises an error for a folder without permission
        raise ValueError("no such file in the folder")
    if not os.access(folder / file, os.R_OK):
        raise ValueError("no permission to read it")


def boxes(box: list[str]) -> np.ndarray:
    """float64[1, 4] of left, top, width and height as text; float64[0, 4] if all four are empty; ValueError if it is no box."""
    if not any(box):
        return np.zeros((0, 4))
    values = []
    for column, text in zip(crop.SIDES, box, strict=True):
        try:
            values.append(float(text))
        except ValueError:
            if "," in text:
                point = text.replace(",", ".")[:100]
                raise ValueError(
                    f"{column} is {text[:100]!r}, not a number; write {point}"
                ) from None
            raise ValueError(
                f"{column} is {text[:100]!r}; give all four of the box in pixels, or none"
            ) from None
    crop.box_of(*values)
    return np.array([values])
