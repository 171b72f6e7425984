"""A digitStruct.mat of any size in seconds: a record is a copy of bytes with other addresses in it.

h5py would have to make the three million objects of extra's file one by one. Here it makes one of
each sort; numpy repeats the bytes (svhn_jax's readers, like any, see an ordinary HDF5 file). The
layout is that of MATLAB v7.3, superblock 0 and version 1 object headers: every scalar is an object of
its own, and all are named in the one flat group /#refs#. What differs no reader through libhdf5 can
tell: a record's numbers stand right behind its headers, and the index of /#refs# behind all records.
"""

import io
import struct
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from h5py import h5o
from hdf5_bytes import LIBVER, SYMBOL_TABLE_MESSAGE, Template, symbol_table, template

USER_BLOCK = 512  # addresses in the file count from its end
MATLAB_TEXT = b"MATLAB 7.3 MAT-file, made for a rehearsal, HDF5 schema 1.00 ."
EOF_AT = USER_BLOCK + 40  # superblock 0: the end-of-file address
RECORDS_AT_ONCE = 4096


class Annotation(NamedTuple):
    """One photo of a split: its number as text, its boxes as (left, top, width, height) in pixels."""

    name: str
    width: int
    height: int
    label: str
    boxes: list[list[float]]


class Frame(NamedTuple):
    """A file with no records yet: its bytes, the offsets of name and bbox, the addresses of the index of /#refs#."""

    content: bytes
    references_at: dict[str, int]
    refs_index: bytes


def write(path: Path, annotations: Sequence[Annotation]) -> None:
    """Writes the digitStruct.mat of the given photos."""
    kinds = [(len(annotation.label), len(annotation.name)) for annotation in annotations]
    templates = {kind: template(*kind) for kind in set(kinds)}
    blocks = [templates[kind].block for kind in kinds]
    frame = _frame(len(annotations))
    *starts, end = np.cumsum([len(frame.content) - USER_BLOCK, *(block.content.size for block in blocks)]).tolist()
    objects = np.concatenate([start + block.objects for start, block in zip(starts, blocks, strict=True)])
    names = np.array([b"r%x" % number for number in range(1, len(objects) + 1)])
    index, tree, heap = symbol_table(names, objects, end)
    groups = [start + block.objects[1] for start, block in zip(starts, blocks, strict=True)]
    with open(path, "wb") as file:
        file.write(frame.content.replace(frame.refs_index, struct.pack("<QQ", tree, heap)))
        for first in range(0, len(annotations), RECORDS_AT_ONCE):
            chunk = slice(first, first + RECORDS_AT_ONCE)
            file.write(_records(annotations[chunk], kinds[chunk], np.array(starts[chunk]), templates))
        file.writelines(index)
        patches = (
            (EOF_AT, [file.tell()]),
            (frame.references_at["name"], starts),
            (frame.references_at["bbox"], groups),
        )
        for offset, addresses in patches:
            file.seek(offset)
            file.write(np.array(addresses, "<u8").tobytes())


def _frame(count: int) -> Frame:
    """The file around the records, by h5py."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=USER_BLOCK, libver=LIBVER) as file:
        refs, digit_struct = file.create_group("#refs#"), file.create_group("digitStruct")
        digit_struct.attrs["MATLAB_class"] = np.bytes_("struct")
        nothing = np.full((count, 1), h5py.Reference(), h5py.ref_dtype)
        references_at = {
            field: digit_struct.create_dataset(field, data=nothing).id.get_offset() for field in ("bbox", "name")
        }
        refs_at = USER_BLOCK + h5o.get_info(refs.id).addr
    content = bytearray(stream.getvalue())
    content[:128] = MATLAB_TEXT.ljust(124) + b"\x00\x02IM"
    index_at = content.index(SYMBOL_TABLE_MESSAGE, refs_at) + 8
    content += bytes(-len(content) % 8)
    return Frame(bytes(content), references_at, bytes(content[index_at : index_at + 16]))


def _records(
    annotations: Sequence[Annotation],
    kinds: Sequence[tuple[int, int]],
    starts: np.ndarray,
    templates: dict[tuple[int, int], Template],
) -> np.ndarray:
    """uint8[...]: the bytes of consecutive records; starts: int64[N], the address of each."""
    content = np.empty(starts[-1] - starts[0] + templates[kinds[-1]].block.content.size, np.uint8)
    rows_of = defaultdict(list)
    for row, kind in enumerate(kinds):
        rows_of[kind].append(row)
    for kind, rows in rows_of.items():
        block, addresses = templates[kind]
        blocks = np.tile(block.content, (len(rows), 1))
        for offset in addresses:
            blocks[:, offset : offset + 8].view("<u8")[:, 0] += starts[rows].astype("<u8")
        codes = np.array([list(annotations[row].name.encode()) for row in rows], "<u2")
        blocks[:, block.letters : block.letters + codes.shape[1] * 2] = codes.view(np.uint8)
        numbers = np.array([_numbers(annotations[row]) for row in rows], "<f8")
        for offset, column in zip(block.numbers, numbers.T, strict=True):
            blocks[:, offset : offset + 8] = np.ascontiguousarray(column)[:, None].view(np.uint8)
        for at, record in zip(starts[rows] - starts[0], blocks, strict=True):
            content[at : at + len(record)] = record
    return content


def _numbers(annotation: Annotation) -> list[float]:
    """The scalars of a record, field by field; the digit 0 has label 10."""
    left, top, width, height = zip(*annotation.boxes, strict=True)
    return [*height, *(int(digit) or 10 for digit in annotation.label), *left, *top, *width]
