"""Reads digitStruct.mat: the names, labels and boxes of an SVHN Format 1 split.

The file is MATLAB v7.3, that is HDF5. /digitStruct/name[i, 0] refers to a uint16 array of
character codes, /digitStruct/bbox[i, 0] to a group with the fields label, left, top, width and
height. Each field is a (1, 1) number, or for n digits an (n, 1) array of references to such
numbers. Label 10 means the digit 0. Boxes are in reading order.

The low-level calls of h5py take a seventh of the time of the usual ones. Worker processes read,
because the HDF5 library may crash on a damaged file.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5r, h5s, h5t

from svhn_jax.data.crop import MAX_PIXELS_OFF, MIN_SIDE
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.workers import Workers, usable_cores
from svhn_jax.errors import InputError, printable

FIELDS = (b"label", b"left", b"top", b"width", b"height")
RECORDS_AT_ONCE = 1024
MIN_RECORD_BYTES = 500  # MATLAB takes some 7,000, the densest layout of HDF5 some 1,900
MAX_VALUES = 1000  # of a field or name; far more than any house number has
ONE = h5s.create_simple((1, 1))
# What h5py raises; AttributeError for an object of another kind.
BAD = (ValueError, KeyError, TypeError, OSError, RuntimeError, OverflowError, AttributeError)


def read(path: str | Path, called: str = "") -> list[Record | Skipped]:
    """Every record of a digitStruct.mat in file order, also the bad ones.

        records = read("data/raw/train/digitStruct.mat")
        records[0].name, records[0].digits, records[0].boxes  # '1.png', (1, 9), float64[2, 4]

    called: the file's name in messages; its path by default.

    Raises:
      InputError: the file is missing, is not HDF5, or has no digitStruct with name and bbox.
    """
    called = called or str(path)
    if not Path(path).is_file():
        raise InputError(
            f"{called}: not found; take it from the split's archive, or write labels.csv"
        )
    records: list[Record | Skipped] = []
    with Workers(usable_cores()) as workers:
        [count] = workers.in_order(partial(_count, called), [path], called=called)
        starts = range(0, count, RECORDS_AT_ONCE)
        for block in workers.in_order(partial(_read_block, path), starts, called=called):
            records += block
    return records


def _count(called: str, path: str | Path) -> int:
    """The number of records."""
    try:
        with h5py.File(path, "r") as file:
            names, boxes = file["digitStruct/name"], file["digitStruct/bbox"]
            if names.shape != boxes.shape or names.ndim != 2 or not names.shape[1]:
                raise ValueError(f"name of shape {names.shape}, bbox of shape {boxes.shape}")
            if len(names) * MIN_RECORD_BYTES > file.id.get_filesize():
                raise ValueError(f"it claims {len(names)} records, more than it has room for")
            return len(names)
    except BAD as error:
        raise InputError(
            f"{called}: no readable digitStruct with name and bbox in it, of MATLAB v7.3 (HDF5): "
            f"{_in_words(error)}; take it from the archive again"
        ) from None


def _read_block(path: str | Path, start: int) -> list[Record | Skipped]:
    with h5py.File(path, "r") as file:
        rows = slice(start, start + RECORDS_AT_ONCE)
        columns = (file[f"digitStruct/{name}"][rows, 0] for name in ("name", "bbox"))
        pairs = zip(*columns, strict=True)
        return [_record(file, row, *pair) for row, pair in enumerate(pairs, start + 1)]


def _record(file: h5py.File, number: int, name_ref: Any, box_ref: Any) -> Record | Skipped:
    name = f"record {number}"
    try:
        text = "".join(map(chr, _numbers(h5r.dereference(name_ref, file.id), np.uint16)))
        if not (text.isascii() and text.isprintable() and 0 < len(text) < 256) or "/" in text:
            return Skipped(name, "no printable name of a file")
        name = text
        group = h5r.dereference(box_ref, file.id)
        if not isinstance(group, h5g.GroupID):
            raise ValueError("no box: its bbox is no group")
        labels, *sides = (_field(file, group, field) for field in FIELDS)
        return _checked(name, labels, sides)
    except BAD as error:
        return Skipped(name, _in_words(error))


def _checked(name: str, labels: list[float], sides: list[list[float]]) -> Record:
    """The record of these fields; ValueError for a bad one."""
    if not labels:
        raise ValueError("no box")
    if {len(side) for side in sides} != {len(labels)}:
        raise ValueError("its fields differ in length")
    if wrong := [label for label in labels if label not in range(1, 11)]:
        raise ValueError(f"label {wrong[0]:g} is not 1 to 10")
    boxes = np.array(sides, np.float64).T
    if not ((np.abs(boxes) <= MAX_PIXELS_OFF).all() and (boxes[:, 2:] >= MIN_SIDE).all()):
        raise ValueError("a box is not finite, has no width or height, or is a million pixels away")
    return Record(name, tuple(int(label) % 10 for label in labels), boxes)


def _field(file: h5py.File, group: h5g.GroupID, field: bytes) -> list[float]:
    """The numbers of a field: in its dataset, or one in each that its references lead to."""
    if not group.links.exists(field):
        raise ValueError(f"no box: its bbox has no field {field.decode()}")
    try:
        dataset = h5d.open(group, field)
        if dataset.get_type().get_class() != h5t.REFERENCE:
            return _numbers(dataset, np.float64)
        refs = _numbers(dataset, h5py.ref_dtype)
        values = np.empty((len(refs), 1, 1))
        for ref, value in zip(refs, values, strict=True):
            h5r.dereference(ref, file.id).read(ONE, h5s.ALL, value, h5t.NATIVE_DOUBLE)
        return values.ravel().tolist()
    except BAD as error:
        raise ValueError(f"its field {field.decode()}: {error}") from None


def _numbers(dataset: Any, dtype: Any) -> list[Any]:
    """The elements of a dataset, converted to `dtype`."""
    if (count := math.prod(dataset.shape)) > MAX_VALUES:
        raise ValueError(f"{count} values")
    elements = np.empty(dataset.shape, dtype)
    dataset.read(h5s.ALL, h5s.ALL, elements)
    return elements.ravel().tolist()


def _in_words(error: Exception) -> str:
    return printable(" ".join(str(error).split()))
