"""digitStruct.mat: the names, labels and boxes of an SVHN Format 1 split.

The file is MATLAB v7.3, that is HDF5. /digitStruct/name[i, 0] refers to a uint16 array of
character codes, /digitStruct/bbox[i, 0] to a group with the fields height, label, left, top and
width. Each field is an inline (1, 1) float64 where the number has one digit, and an (n, 1) array of
references to such scalars where it has n. Label 10 means the digit 0. Boxes stand in reading order.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5d, h5g, h5r, h5s, h5t

from svhn_jax.errors import InputError

BOX_FIELDS = (b"left", b"top", b"width", b"height")
MAX_BOXES = 1000  # far beyond any house number: a damaged field claims more
MAX_NAME_CHARACTERS = 255


class Record(NamedTuple):
    """One photo's annotation: file name, digits 0 ... 9 in reading order, boxes.

    boxes: float64[n, 4], (left, top, width, height) in pixels, the photo's corner at (0, 0).
    """

    name: str
    digits: tuple[int, ...]
    boxes: np.ndarray


class BadRecord(NamedTuple):
    """A record that cannot be used: its name, or its position in the file, and why."""

    name: str
    reason: str


def read(path: str | Path, called: str = "") -> Iterator[Record | BadRecord]:
    """Yields every record of a digitStruct.mat in file order; nothing is dropped unnamed.

    Args:
      path: the file.
      called: what to call it in messages, where that is not its path.

    Raises:
      InputError: the file is missing, is no HDF5, or has no digitStruct with name and bbox.
    """
    called = called or str(path)
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise InputError(f"{called}: not found; it comes with the split's archive") from None
    except OSError as error:
        raise InputError(f"{called}: not a readable MATLAB v7.3 (HDF5) file ({error}); fetch it again") from None
    with file:
        try:
            names, boxes = file["digitStruct/name"], file["digitStruct/bbox"]
            name_refs, box_refs = names[:, 0], boxes[:, 0]
        except (KeyError, IndexError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise InputError(f"{called}: no digitStruct with name and bbox in it ({error}); fetch it again") from None
        if len(name_refs) != len(box_refs):
            raise InputError(f"{called}: {len(name_refs)} names but {len(box_refs)} boxes; fetch it again")
        for index, (name_ref, box_ref) in enumerate(zip(name_refs, box_refs, strict=True)):
            name = f"record {index + 1}"
            try:
                name = _read_name(file, name_ref)
                yield _read_record(file, name, box_ref)
            except (ValueError, KeyError, TypeError, OSError, RuntimeError, OverflowError) as error:
                yield BadRecord(name, " ".join(str(error).split()))


def _dataset(file: h5py.File, ref: Any) -> h5d.DatasetID:
    found = h5r.dereference(ref, file.id)
    if not isinstance(found, h5d.DatasetID):
        raise ValueError("a reference leads nowhere")
    return found


def _read_name(file: h5py.File, ref: Any) -> str:
    dataset = _dataset(file, ref)
    if not 0 < math.prod(dataset.shape) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"a name of shape {dataset.shape}")
    codes = np.empty(dataset.shape, np.uint16)
    dataset.read(h5s.ALL, h5s.ALL, codes)
    return "".join(map(chr, codes.ravel()))


def _read_record(file: h5py.File, name: str, ref: Any) -> Record:
    group = h5r.dereference(ref, file.id)
    if not isinstance(group, h5g.GroupID):
        raise ValueError("no box: its bbox is no group")
    labels = _read_field(file, group, b"label")
    columns = [_read_field(file, group, field) for field in BOX_FIELDS]
    if not labels:
        raise ValueError("no box")
    if {len(column) for column in columns} != {len(labels)}:
        raise ValueError("its fields differ in length")
    for label in labels:
        if label not in range(1, 11):
            raise ValueError(f"label {label:g} is not 1 to 10")
    boxes = np.array(columns).T
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= 0).any() or (np.abs(boxes) > 1e6).any():
        raise ValueError("a box is not finite, has no width or height, or lies a million pixels off")
    return Record(name, tuple(int(label) % 10 for label in labels), boxes)


def _read_field(file: h5py.File, group: h5g.GroupID, field: bytes) -> list[float]:
    try:
        dataset = h5d.open(group, field)
    except KeyError:
        raise ValueError(f"no box: its bbox has no field {field.decode()}") from None
    count = math.prod(dataset.shape)
    if count > MAX_BOXES:
        raise ValueError(f"its field {field.decode()} has {count} values")
    if dataset.get_type().get_class() == h5t.FLOAT:
        inline = np.empty(dataset.shape, np.float64)
        dataset.read(h5s.ALL, h5s.ALL, inline)
        return inline.ravel().tolist()
    refs = np.empty(dataset.shape, h5py.ref_dtype)
    dataset.read(h5s.ALL, h5s.ALL, refs)
    scalar, values = np.empty((1, 1), np.float64), []
    for ref in refs.ravel():
        target = _dataset(file, ref)
        if target.shape != (1, 1):
            raise ValueError(f"its field {field.decode()} refers to an array of shape {target.shape}")
        target.read(h5s.ALL, h5s.ALL, scalar)
        values.append(float(scalar[0, 0]))
    return values


def write(path: str | Path, records: Iterable[Record]) -> None:
    """Writes a digitStruct.mat in the layout `read` describes, as MATLAB v7.3 itself does.

    Equal scalars are stored once and referred to many times, which readers cannot tell.
    """
    records = list(records)
    with h5py.File(path, "w", userblock_size=512, libver=("earliest", "v108")) as file:
        refs, struct = file.create_group("#refs#"), file.create_group("digitStruct")
        struct.attrs["MATLAB_class"] = np.bytes_("struct")
        scalars: dict[float, Any] = {}

        def reference(value: float) -> Any:
            if value not in scalars:
                dataset = refs.create_dataset(f"s{len(scalars)}", data=[[value]], dtype="<f8")
                dataset.attrs["MATLAB_class"] = np.bytes_("double")
                scalars[value] = dataset.ref
            return scalars[value]

        names = np.empty((len(records), 1), h5py.ref_dtype)
        boxes = np.empty((len(records), 1), h5py.ref_dtype)
        for index, record in enumerate(records):
            codes = np.array([[ord(character)] for character in record.name], np.uint16)
            name = refs.create_dataset(f"n{index}", data=codes)
            name.attrs["MATLAB_class"] = np.bytes_("char")
            name.attrs["MATLAB_int_decode"] = np.int32(2)
            group = refs.create_group(f"b{index}")
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            labels = np.array([digit or 10 for digit in record.digits], np.float64)
            for field, values in zip((b"label", *BOX_FIELDS), (labels, *record.boxes.T), strict=True):
                if len(values) == 1:
                    group[field.decode()] = np.array([values], np.float64)
                else:
                    group[field.decode()] = np.array([[reference(float(value))] for value in values], h5py.ref_dtype)
            names[index, 0], boxes[index, 0] = name.ref, group.ref
        struct.create_dataset("name", data=names)
        struct.create_dataset("bbox", data=boxes)
    with open(path, "r+b") as file_bytes:  # the 512-byte user block that marks a MATLAB v7.3 file
        text = b"MATLAB 7.3 MAT-file, written by svhn_jax, HDF5 schema 1.00 ."
        file_bytes.write(text.ljust(124) + b"\x00\x02IM")
