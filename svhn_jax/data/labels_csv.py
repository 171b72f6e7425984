"""labels.csv: the labels, and perhaps the boxes, of photos of one's own.

    file,label,left,top,width,height
    door 1.jpg,1024,120,80,260,90
    gate.png,7,,,,

The last four columns may be left out, all or none, in the header and in every row. They are the box
around the whole number, in pixels of the upright photo; without one the number fills the photo.
"""

import csv
import io
import math
from pathlib import Path, PurePosixPath

import numpy as np

from svhn_jax.data.digit_struct import MAX_PIXELS_OFF, MIN_SIDE, Record
from svhn_jax.errors import InputError

NAME = "labels.csv"
COLUMNS = ("file", "label", "left", "top", "width", "height")
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_BYTES = 2**26  # a million rows
MAX_PROBLEMS = 1000
MAX_DIGITS = 30


def read(path: Path) -> list[Record]:
    """The rows of a labels.csv, in their order.

    Raises:
      InputError: no such file, or a bad row; each of the first MAX_PROBLEMS is listed, with its line number.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = next((one for one in ";\t" if one in first and "," not in first), ",")  # Excel's in much of Europe
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    records: dict[str, Record] = {}
    problems = []
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if header not in (list(COLUMNS), list(COLUMNS[:2])):
            raise InputError(
                f"{path}: line 1 is {','.join(header)[:100]!r}; it must be {','.join(COLUMNS)} or file,label"
            )
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            try:
                record = _record([cell.strip() for cell in row], len(header), path.parent)
                if record.name in records:
                    raise ValueError(f"{record.name} is named twice")
                records[record.name] = record
            except ValueError as error:
                problems.append(f"line {rows.line_num}: {error}")
                if len(problems) == MAX_PROBLEMS:
                    break
    except csv.Error as error:
        problems.append(f"line {rows.line_num}: {error}")
    if problems:
        at_least = "at least " if len(problems) == MAX_PROBLEMS else ""
        raise InputError(f"{path}: {at_least}{len(problems)} of its rows cannot be used; mend them", problems)
    if not records:
        raise InputError(f"{path}: no rows below its first line; name a photo and its number in each")
    return list(records.values())


def _record(row: list[str], columns: int, folder: Path) -> Record:
    if len(row) != columns:
        raise ValueError(f"{len(row)} values; the first line has {columns}")
    file, label, *box = row
    name = PurePosixPath(file)
    if name.is_absolute() or ".." in name.parts or not file.isprintable() or len(file) > 255:
        raise ValueError(f"{file[:100]!r} is no name of a file in the folder")
    if name.suffix.lower() not in PHOTO_SUFFIXES:
        raise ValueError(f"{file!r} does not end in .png, .jpg or .jpeg")
    if not (folder / file).is_file():
        raise ValueError(f"no file {file!r} in the folder")
    if not (label.isascii() and label.isdigit()) or len(label) > MAX_DIGITS:
        raise ValueError(f"label {label[:100]!r} is no number; write its digits")
    return Record(str(name), tuple(map(int, label)), _boxes(box))


def _boxes(box: list[str]) -> np.ndarray:
    if not any(box):
        return np.zeros((0, 4))
    values = []
    for column, text in zip(COLUMNS[2:], box, strict=True):
        try:
            values.append(float(text))
        except ValueError:
            raise ValueError(f"{column} is {text[:100]!r}; give all four of the box in pixels, or none") from None
        if not math.isfinite(values[-1]) or abs(values[-1]) > MAX_PIXELS_OFF:
            raise ValueError(f"{column} is {text[:100]!r}, out of any photo")
    if values[2] < MIN_SIDE or values[3] < MIN_SIDE:
        raise ValueError("the box has no width or height")
    return np.array([values])
