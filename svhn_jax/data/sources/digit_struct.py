"""Reads digitStruct.mat: the names, labels and boxes of an SVHN Format 1 split.

The file is MATLAB v7.3, that is HDF5. /digitStruct/name[i, 0] refers to a uint16 array of
character codes, /digitStruct/bbox[i, 0] to a group with the fields height, label, left, top and
width. Each field is a (1, 1) float64 for a number of one digit, and an (n, 1) array of references to
such scalars for a number of n digits. Label 10 means the digit 0. Boxes are in reading order.
"""

import mmap
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from svhn_jax.data.crop import MAX_PIXELS_OFF, MIN_SIDE
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import hdf5_records, hdf5_walk
from svhn_jax.data.sources.hdf5_walk import FLOAT64, REFERENCE, UINT16, Walk
from svhn_jax.errors import InputError, printable

BOX_FIELDS = (b"left", b"top", b"width", b"height")
RECORDS_AT_ONCE = 8192
WALKED_BOXES = 16  # the HDF5 library reads records of more boxes or longer names
WALKED_CHARACTERS = 32
NAME = re.compile(r"[ -~]{1,255}")


def read(path: str | Path, called: str = "") -> list[Record | Skipped]:
    """Every record of a digitStruct.mat in file order, also the bad ones.

        records = read("data/raw/train/digitStruct.mat")
        records[0].name, records[0].digits, records[0].boxes  # '1.png', (1, 9), float64[2, 4]

    Records in MATLAB's layout are read thousands at a time (svhn_jax.data.sources.hdf5_walk), others one by one with
    the HDF5 library.

    Args:
      path: the file.
      called: its name in messages; by default its path.

    Raises:
      InputError: the file is missing, is not HDF5, or has no digitStruct with name and bbox.
    """
    called = called or str(path)
    if not Path(path).is_file():  # opening a pipe would block
        raise InputError(
            f"{called}: not found, or no regular file; take it from the split's archive; for your own photos, write labels.csv"
        )
    found = _walk(Path(path))
    if found is None:
        return [_check(name, columns) for name, columns in hdf5_records.read(path, called, None)]
    odd = [row for row, record in enumerate(found) if record is None]
    if odd:
        for row, (name, columns) in zip(odd, hdf5_records.read(path, called, odd), strict=True):
            found[row] = _check(name, columns)
    return [record for record in found if record is not None]


def _check(name: str, columns: hdf5_records.Columns | str) -> Record | Skipped:
    """The record of these fields (label, left, top, width, height), or the reason why they are bad."""
    if not NAME.fullmatch(name):
        return Skipped(printable(ascii(name)[1:-1]), "no printable name")
    if isinstance(columns, str):
        return Skipped(name, printable(columns))
    labels, *box_columns = columns
    if not labels:
        return Skipped(name, "no box")
    if {len(column) for column in box_columns} != {len(labels)}:
        return Skipped(name, "its fields differ in length")
    for label in labels:
        if label not in range(1, 11):
            return Skipped(name, f"label {label:g} is not 1 to 10")
    boxes = np.array(box_columns).T
    if not are_boxes(boxes).all():
        return Skipped(
            name, "a box is not finite, has no width or height, or is a million pixels away"
        )
    return Record(name, tuple(int(label) % 10 for label in labels), boxes)


def are_boxes(boxes: np.ndarray) -> np.ndarray:
    """bool[N]: which of float64[N, 4] are finite boxes with a width and height."""
    return (np.abs(boxes) <= MAX_PIXELS_OFF).all(axis=1) & (boxes[:, 2:] >= MIN_SIDE).all(
        axis=1
    )  # nan fails both


def _walk(path: Path) -> list[Record | Skipped | None] | None:
    """The records in MATLAB's layout, None for each other record; None if the whole file has another layout."""
    with open(path, "rb") as file:
        if path.stat().st_size == 0:
            return None
        # Never closed explicitly: after an interrupt, arrays may still refer to it.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return _walk_records(Walk(np.frombuffer(mapped, np.uint8)), mapped)
        except ValueError:
            return None


def _walk_records(walk: Walk, mapped: mmap.mmap) -> list[Record | Skipped | None] | None:
    ok, members = walk.children(walk.root, (b"#refs#", b"digitStruct"))
    if not ok.all():
        return None
    ok, members = walk.children(members[:, 1], (b"bbox", b"name"))
    columns = walk.datasets(members[0])
    count = int(columns.count[0])
    if not (
        ok.all()
        and columns.ok.all()
        and (columns.kind == REFERENCE).all()
        and columns.count[1] == count
    ):
        return None
    if count * hdf5_records.MIN_RECORD_BYTES > len(mapped):  # the library will refuse it
        return None
    records: list[Record | Skipped | None] = []
    for start in range(0, count, RECORDS_AT_ONCE):
        rows = min(RECORDS_AT_ONCE, count - start)
        boxes, names = (
            walk.elements(columns.data[i : i + 1] + 8 * start, rows, REFERENCE)[0][0]
            for i in (0, 1)
        )
        block = _walk_block(walk, names, boxes)
        if not any(block):  # the file has another layout
            return None
        records += block
        mapped.madvise(mmap.MADV_DONTNEED)  # pages that were read count as memory of this process
    return records


def _walk_block(
    walk: Walk, name_addresses: np.ndarray, box_addresses: np.ndarray
) -> list[Record | Skipped | None]:
    """The records of N names and boxes, int64[N] addresses."""
    count = len(name_addresses)
    names = walk.datasets(name_addresses)
    codes, fits = walk.elements(names.data, WALKED_CHARACTERS, UINT16)
    ok = names.ok & fits & (names.kind == UINT16) & (names.count <= WALKED_CHARACTERS)
    is_of_name = np.arange(WALKED_CHARACTERS) < names.count[:, None]
    ok &= ((codes > 0) | ~is_of_name).all(axis=1)  # numpy would take a NUL for the end of the name
    codes = np.where(is_of_name, codes, 0)
    ok &= (codes < 128).all(axis=1)
    texts = codes.astype(np.uint8).view(f"S{WALKED_CHARACTERS}")[:, 0]

    fields = sorted((b"label", *BOX_FIELDS))
    are_groups, addresses = walk.children(box_addresses, tuple(fields))
    columns = walk.datasets(addresses.ravel())
    counts = columns.count.reshape(count, len(fields))
    ok &= are_groups & columns.ok.reshape(counts.shape).all(axis=1)
    ok &= (counts == counts[:, :1]).all(axis=1) & (counts[:, 0] <= WALKED_BOXES)
    values, are_read = _walk_values(walk, columns)
    ok &= are_read.reshape(counts.shape).all(axis=1)

    # float64[N, fields, boxes] -> label [N, boxes] and box [N, boxes, 4]; unused places get valid values.
    by_field = dict(
        zip(
            fields, np.moveaxis(values.reshape(count, len(fields), WALKED_BOXES), 1, 0), strict=True
        )
    )
    is_box = np.arange(WALKED_BOXES) < counts[:, :1]
    label = np.where(is_box, by_field[b"label"], 1)
    box = np.where(
        is_box[..., None], np.stack([by_field[field] for field in BOX_FIELDS], axis=-1), 1
    )
    ok &= np.isin(label, np.arange(1, 11)).all(axis=1)
    ok &= are_boxes(box.reshape(-1, 4)).reshape(is_box.shape).all(axis=1)
    digits = (np.where(ok[:, None], label, 0) % 10).astype(np.int64).tolist()
    return [
        _walked(text.decode("ascii"), digits[row][:n], box[row, :n]) if good else None
        for row, (text, n, good) in enumerate(
            zip(texts, counts[:, 0].tolist(), ok.tolist(), strict=True)
        )
    ]


def _walked(name: str, digits: Sequence[int], boxes: np.ndarray) -> Record | None:
    """The record, of boxes that keep no larger array alive; None where the name is not one."""
    return Record(name, tuple(digits), boxes.copy()) if NAME.fullmatch(name) else None


def _walk_values(walk: Walk, columns: hdf5_walk.Datasets) -> tuple[np.ndarray, np.ndarray]:
    """float64[N, WALKED_BOXES], the numbers of N fields, and bool[N]: which could be read."""
    values = np.ones((len(columns.ok), WALKED_BOXES))
    inline, fits = walk.elements(columns.data, 1, FLOAT64)
    is_inline = columns.ok & fits & (columns.kind == FLOAT64) & (columns.count == 1)
    values[:, :1] = np.where(is_inline[:, None], inline, 1)
    many = np.flatnonzero(
        columns.ok & (columns.kind == REFERENCE) & (columns.count <= WALKED_BOXES)
    )
    widest = int(columns.count[many].max(initial=1))
    references, _ = walk.elements(columns.data[many], widest, REFERENCE)
    is_reference = np.arange(widest) < columns.count[many][:, None]
    scalars = walk.datasets(references[is_reference])
    numbers, fits = walk.elements(scalars.data, 1, FLOAT64)
    are_scalars = np.ones(is_reference.shape, bool)
    are_scalars[is_reference] = scalars.ok & fits & (scalars.kind == FLOAT64) & (scalars.count == 1)
    block = np.ones(is_reference.shape)
    block[is_reference] = numbers[:, 0]
    values[many, :widest] = block
    is_inline[many] = are_scalars.all(axis=1)
    return values, is_inline
