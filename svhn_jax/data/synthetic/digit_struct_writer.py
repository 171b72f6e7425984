"""Writes digitStruct.mat, the annotations of an SVHN Format 1 split, in the layout of MATLAB v7.3.

h5py alone writes 700 photos a second, because each photo takes some ten HDF5 objects. Here h5py writes one
record of each kind, and numpy repeats its bytes with other values and addresses. Every HDF5 reader can read the
result. It differs from MATLAB's in two ways: the objects that references lead to have no names in /#refs#, and, unless
`own_scalars` is set, equal scalars are stored once, which makes the file much smaller.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5o

from svhn_jax.data.records import Record

FIELDS = ("height", "label", "left", "top", "width")
USER_BLOCK = 512  # bytes; addresses in the file count from its end
USER_TEXT = (
    b"MATLAB 7.3 MAT-file, written by svhn_jax, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
)
END_AT = USER_BLOCK + 40  # superblock 0 has the length of the file here, counted from its start
FORMAT: dict[str, Any] = {
    "libver": ("earliest", "v108"),
    "meta_block_size": 1,
}  # superblock 0; no free space
RECORDS_AT_ONCE = 4096
SCALAR = np.zeros((1, 1), "<f8")


class Template(NamedTuple):
    """HDF5 objects as they are at address 0: their bytes, and offsets in them.

    content: uint8[bytes]
    addresses: the offset of every address; 8 bytes each.
    group: the offset of the box group; 0 if there is none.
    data: the offset of the elements of each dataset.
    """

    content: np.ndarray
    addresses: np.ndarray
    group: int
    data: list[int]


def write(path: str | Path, records: Iterable[Record], *, own_scalars: bool = False) -> None:
    """Writes a digitStruct.mat of the given records, in their order.

        write("train/digitStruct.mat", [Record("1.png", (1, 9), np.array([[246, 77, 81, 219], [323, 81, 96, 219]]))])

    own_scalars: give every record scalars of its own, as MATLAB does: some 7,000 bytes a record.
    """
    records = list(records)
    kinds = [(len(record.name), len(record.digits)) for record in records]
    templates = {kind: _record_template(*kind, own_scalars) for kind in set(kinds)}
    fields = [_fields(record) for record in records]
    shared = [] if own_scalars else [columns.ravel() for columns in fields if columns.shape[1] > 1]
    values = np.unique(np.concatenate([np.zeros(0), *shared]))
    scalar = _template({"scalar": SCALAR})

    frame, name_at, bbox_at = _frame(len(records))
    scalars_at = len(frame) - USER_BLOCK + len(scalar.content) * np.arange(len(values) + 1)
    records_at = scalars_at[-1] + np.cumsum([0, *(len(templates[kind].content) for kind in kinds)])
    groups_at = records_at[:-1] + [templates[kind].group for kind in kinds]
    for offset, addresses in (
        (END_AT, records_at[-1:] + USER_BLOCK),
        (name_at, records_at[:-1]),
        (bbox_at, groups_at),
    ):
        _put(frame[None], offset, addresses[None])
    with open(path, "wb") as file:
        file.write(frame.tobytes())
        file.write(_repeat(scalar, scalars_at[:-1], {0: values[:, None]}).tobytes())
        for start in range(0, len(records), RECORDS_AT_ONCE):
            chunk = range(start, min(start + RECORDS_AT_ONCE, len(records)))
            content = np.zeros(records_at[chunk.stop] - records_at[start], np.uint8)
            for kind in {kinds[row] for row in chunk}:
                rows = [row for row in chunk if kinds[row] == kind]
                columns = np.stack([fields[row] for row in rows], axis=1)  # [5 fields, N, digits]
                if own_scalars:
                    columns = np.moveaxis(columns, 2, 1).reshape(
                        -1, len(rows), 1
                    )  # [5 fields x digits, N, 1]
                elif kind[1] > 1:
                    columns = scalars_at[np.searchsorted(values, columns)]
                names = np.array([list(records[row].name.encode()) for row in rows], "<u2")
                blocks = _repeat(
                    templates[kind], records_at[rows], {0: names, **dict(enumerate(columns, 1))}
                )
                for at, block in zip(records_at[rows] - records_at[start], blocks, strict=True):
                    content[at : at + len(block)] = block
            file.write(content.tobytes())


def _fields(record: Record) -> np.ndarray:
    """float64[5, n], in the order of FIELDS; the digit 0 has label 10."""
    left, top, width, height = record.boxes.T
    return np.array(
        [height, [digit or 10 for digit in record.digits], left, top, width], np.float64
    )


def _repeat(template: Template, addresses: np.ndarray, data: dict[int, np.ndarray]) -> np.ndarray:
    """uint8[N, bytes]: the template at N addresses, with N rows of elements in some of its datasets.

    data: elements [N, ...] by the number of the dataset.
    """
    blocks = np.tile(template.content, (len(addresses), 1))
    for offset in template.addresses:
        _put(
            blocks,
            offset,
            addresses[:, None] + int.from_bytes(template.content[offset : offset + 8], "little"),
        )
    for number, elements in data.items():
        _put(blocks, template.data[number], elements)
    return blocks


def _put(blocks: np.ndarray, offset: int, elements: np.ndarray) -> None:
    raw = np.ascontiguousarray(elements).view(np.uint8)
    blocks[:, offset : offset + raw.shape[1]] = raw


def _record_template(letters: int, digits: int, own_scalars: bool) -> Template:
    """The name of a photo, and the box group of its number."""
    name = {"name": np.zeros((letters, 1), "<u2")}
    if digits == 1:
        return _template(name, SCALAR)
    if own_scalars:
        return _template(name, digits=digits)
    return _template(name, _references(digits))


def _references(count: int) -> np.ndarray:
    """A column of references to nothing."""
    return np.full((count, 1), h5py.Reference(), h5py.ref_dtype)


def _template(
    datasets: dict[str, np.ndarray], field: np.ndarray | None = None, digits: int = 0
) -> Template:
    """Some datasets, and a box group, as h5py writes them.

    The fields of the group have the value `field`, or refer to scalars of `digits` digits; with neither there is no
    group. Bytes that change with the position of the objects are addresses.
    """
    template, start = _behind(0, datasets, field, digits)
    moved, _ = _behind(2**16, datasets, field, digits)
    addresses = (
        np.flatnonzero(template.content != moved.content) - 2
    )  # the third byte of each address differs
    for offset in addresses:
        template.content[offset : offset + 8].view("<i8")[:] -= start
    return template._replace(addresses=addresses)


def _behind(
    padding: int, datasets: dict[str, np.ndarray], field: np.ndarray | None, digits: int
) -> tuple[Template, int]:
    """The objects behind so many bytes of padding, without their addresses; and the address at which they start."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", **FORMAT) as file:
        refs = file.create_group("#refs#")
        refs.create_group("first")  # creates the index of #refs#, in front of what follows
        file.create_dataset("padding", data=np.zeros(padding + 8, np.uint8))
        file.flush()
        start = file.id.get_filesize()
        made = [(_create(refs, name, elements), elements) for name, elements in datasets.items()]
        # Many names would move the index of #refs#, and later objects take its old place: use a group behind `start`.
        scalars = file.create_group("scalars") if digits else refs
        scalar_names = [f"{field}{place}" for field in FIELDS for place in range(digits)]
        made += [(_create(scalars, name, SCALAR), SCALAR) for name in scalar_names]
        group_at = start
        if field is not None or digits:
            group = refs.create_group("box")
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for name in FIELDS:
                own = [[scalars[f"{name}{place}"].ref] for place in range(digits)]
                elements = np.array(own, h5py.ref_dtype) if field is None else field
                made.append((_create(group, name, elements), elements))
            group_at = h5o.get_info(group.id).addr
        for dataset, elements in made:  # last: behind the elements the file keeps no free space
            dataset[:] = elements
        data = [dataset.id.get_offset() - start for dataset, _ in made]
    content = np.frombuffer(stream.getvalue()[start:], np.uint8)
    padded = np.concatenate([content, np.zeros(-len(content) % 8, np.uint8)])
    return Template(padded, np.zeros(0, int), group_at - start, data), start


def _create(place: h5py.Group, name: str, elements: np.ndarray) -> h5py.Dataset:
    """An empty dataset for such elements, with the attributes that name its MATLAB class."""
    dataset = place.create_dataset(name, elements.shape, elements.dtype)
    if elements.dtype == "<u2":
        dataset.attrs["MATLAB_class"], dataset.attrs["MATLAB_int_decode"] = (
            np.bytes_("char"),
            np.int32(2),
        )
    elif elements.dtype == "<f8":
        dataset.attrs["MATLAB_class"] = np.bytes_("double")
    return dataset


def _frame(count: int) -> tuple[np.ndarray, int, int]:
    """The bytes of a file without records, and the offsets of its references to names and to boxes."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=USER_BLOCK, **FORMAT) as file:
        file.create_group("#refs#")
        struct = file.create_group("digitStruct")
        struct.attrs["MATLAB_class"] = np.bytes_("struct")
        columns = [
            struct.create_dataset(name, data=_references(count)).id.get_offset()
            for name in ("name", "bbox")
        ]
    content = np.frombuffer(
        bytearray(stream.getvalue().ljust(-(-len(stream.getvalue()) // 8) * 8, b"\0")), np.uint8
    )
    content[: len(USER_TEXT)] = np.frombuffer(USER_TEXT, np.uint8)
    return content, columns[0], columns[1]
