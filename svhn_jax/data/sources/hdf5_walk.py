"""Reads many small HDF5 objects at once from the bytes of a file in the layout of MATLAB v7.3.

A digitStruct.mat of N numbers has some twenty objects per number, and the HDF5 library opens them
one by one. Here numpy reads thousands of object headers in one operation from the memory-mapped file.
Only one layout is understood: superblock 0, version 1 object headers, groups of one symbol node,
contiguous data, little-endian. Any other object is reported as not understood, and left to the HDF5
library. No link or reference can lead out of the file.

Source: HDF5 File Format Specification Version 1.1 (The HDF Group), sections II.A, III.A, III.C to
III.E and IV.A. Addresses here are offsets from the file's base address.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Addresses = Numbers
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

FLOAT64, UINT16, REFERENCE = 1, 2, 3
ELEMENT_BYTES = {FLOAT64: 8, UINT16: 2, REFERENCE: 8}
MAX_COUNT = 2**32  # elements of one dataset; only a damaged shape has more

# Message types of an object header (section IV.A.2). Anything else may change what the data mean.
(
    NIL,
    DATASPACE,
    DATATYPE,
    FILL_OLD,
    FILL,
    LAYOUT,
    ATTRIBUTE,
    CONTINUATION,
    SYMBOL_TABLE,
    MODIFIED,
) = (
    *(0x00, 0x01, 0x03, 0x04, 0x05, 0x08),
    *(0x0C, 0x10, 0x11, 0x12),
)
KNOWN = np.array(
    [
        NIL,
        DATASPACE,
        DATATYPE,
        FILL_OLD,
        FILL,
        LAYOUT,
        ATTRIBUTE,
        CONTINUATION,
        SYMBOL_TABLE,
        MODIFIED,
    ]
)
# A datatype message's first 8 bytes, then its properties (section IV.A.2.d).
DATATYPES = {
    FLOAT64: (bytes.fromhex("11203f0008000000"), bytes.fromhex("00004000340b0034ff030000")),
    UINT16: (bytes.fromhex("1000000002000000"), bytes.fromhex("00001000")),
    REFERENCE: (bytes.fromhex("1700000008000000"), b""),
}
SUPERBLOCK = b"\x89HDF\r\n\x1a\n\x00"  # signature and version 0
HEADER_BYTES = 16
BLOCK_BYTES = 320  # MATLAB's and h5py's header blocks of a dataset have 256
MAX_MESSAGES = 16


@dataclass
class Datasets:
    """The headers of N datasets; the other fields are valid only if `ok` is True."""

    ok: Mask
    kind: Numbers  # FLOAT64, UINT16 or REFERENCE
    count: Numbers  # elements
    data: Addresses


class Messages:
    """The messages of N object headers; 0 for a missing message. Filled in place."""

    def __init__(self, ok: Mask):
        self.ok = ok
        self.kind, self.count, self.data, self.data_bytes = (
            np.zeros(len(ok), np.int64) for _ in range(4)
        )
        self.tree, self.heap, self.rest, self.rest_bytes = (
            np.zeros(len(ok), np.int64) for _ in range(4)
        )


class Walk:
    """Reads objects of one file by their addresses.

    Args:
      data: uint8[bytes of the file].

    Raises:
      ValueError: the superblock has another layout.
    """

    def __init__(self, data: Bytes):
        self._data = data
        for base in (0, 512, 1024, 2048):
            block = data[base : base + 96].tobytes()
            if len(block) == 96 and block.startswith(SUPERBLOCK):
                break
        else:
            raise ValueError("no superblock of version 0")
        base_address, root = (int.from_bytes(block[at : at + 8], "little") for at in (24, 64))
        if block[13:15] != b"\x08\x08" or base_address != base:
            raise ValueError(
                "addresses that are not 8 bytes long or not relative to the superblock"
            )
        self._base = base
        self.root = np.array([root], np.int64)

    def children(self, groups: Addresses, names: tuple[bytes, ...]) -> tuple[Mask, Addresses]:
        """The addresses int64[N, names] of the members of groups, and bool[N]: which groups have exactly these names.

        Args:
          groups: int64[N], addresses of object headers.
          names: sorted; each at most 15 bytes.
        """
        found = self._headers(groups)
        ok = found.ok & (found.tree > 0) & (found.heap > 0)
        tree, fits = self._bytes_at(found.tree, 40)
        ok &= fits & _is(tree[:, :8], b"TREE\x00\x00\x01\x00")  # a leaf with one child
        node, fits = self._bytes_at(_int64(tree[:, 32:40]), 8 + 40 * len(names))
        ok &= fits & _is(node[:, :8], b"SNOD\x01\x00" + len(names).to_bytes(2, "little"))
        heap, fits = self._bytes_at(found.heap, 32)
        ok &= fits & _is(heap[:, :5], b"HEAP\x00")
        entries = node[:, 8:].reshape(len(groups), len(names), 40)
        names_at = _int64(heap[:, 24:32])[:, None] + _int64(entries[:, :, :8])
        for index, name in enumerate(names):
            text, fits = self._bytes_at(names_at[:, index], 16)
            ok &= fits & _is(text[:, : len(name) + 1], name + b"\x00")
        ok &= (entries[:, :, 16] < 2).all(axis=1)  # 2 is a symbolic link
        return ok, _int64(entries[:, :, 8:16])

    def datasets(self, addresses: Addresses) -> Datasets:
        """The datasets whose object headers are at int64[N]."""
        found = self._headers(addresses)
        kind, count = found.kind, found.count
        size = count * np.array([0, 8, 2, 8])[kind]
        ok = found.ok & (kind > 0) & (count > 0) & (found.data > 0) & (found.data_bytes >= size)
        ok &= found.data <= len(self._data) - self._base - size
        return Datasets(ok, kind, count, found.data)

    def elements(self, data: Addresses, count: int, kind: int) -> tuple[npt.NDArray[Any], Mask]:
        """The first `count` elements [N, count] at each address, and bool[N]: which addresses are in the file.

        Elements past the end of the file are zeros.
        """
        raw, fits = self._bytes_at(data, count * ELEMENT_BYTES[kind], partly=True)
        return raw.view({FLOAT64: "<f8", UINT16: "<u2", REFERENCE: "<i8"}[kind]), fits

    def _headers(self, addresses: Addresses) -> Messages:
        """Reads version 1 object headers, each with at most one continuation block."""
        head, fits = self._bytes_at(addresses, HEADER_BYTES)
        found = Messages(fits & (head[:, 0] == 1))
        rows = np.arange(len(addresses))
        self._read_messages(found, rows, addresses + HEADER_BYTES, _int32(head[:, 8:12]))
        if (rows := np.flatnonzero(found.ok & (found.rest > 0))).size:
            start, size = found.rest[rows], found.rest_bytes[rows]
            found.rest[:] = 0
            self._read_messages(found, rows, start, size)
            found.ok &= found.rest == 0
        return found

    def _read_messages(
        self, found: Messages, rows: Numbers, start: Addresses, size: Numbers
    ) -> None:
        """Reads the messages in blocks of `size` bytes at `start`, which belong to the objects `rows`, into `found`."""
        blocks, fits = self._bytes_at(start, BLOCK_BYTES + 32, partly=True)
        found.ok[rows] &= fits & (size >= 8) & (size <= BLOCK_BYTES)
        at = np.zeros(len(start), np.int64)
        for _ in range(MAX_MESSAGES):
            open_ = np.flatnonzero(found.ok[rows] & (at + 8 <= size))
            if not open_.size:
                return
            message = blocks[open_[:, None], at[open_][:, None] + np.arange(32)]
            kind, length = _int16(message[:, :2]), _int16(message[:, 2:4])
            is_whole = at[open_] + 8 + length <= size[open_]
            is_shared = message[:, 4] & 2 > 0
            found.ok[rows[open_]] = np.isin(kind, KNOWN) & is_whole & ~is_shared
            _note(found, rows[open_], kind, message[:, 8:])
            at[open_] += 8 + length
        found.ok[rows[at + 8 <= size]] = False

    def _bytes_at(
        self, addresses: Addresses, count: int, *, partly: bool = False
    ) -> tuple[Bytes, Mask]:
        """The `count` bytes uint8[N, count] at each address, and bool[N]: which are in the file; zeros for the others.

        With `partly`, only the first byte must be in the file, and bytes past its end are zeros.
        """
        last = len(self._data) - self._base - count
        fits = (addresses >= 0) & (addresses <= (last + count - 1 if partly else last))
        rows = np.zeros((len(addresses), count), np.uint8)
        whole = np.flatnonzero(fits & (addresses <= last))
        if whole.size:
            windows = np.lib.stride_tricks.as_strided(
                self._data[self._base :], (last + 1, count), (1, 1)
            )
            rows[whole] = windows[addresses[whole]]
        for row in np.flatnonzero(fits & (addresses > last)):  # the few at the end of the file
            rest = self._data[self._base + addresses[row] :]
            rows[row, : len(rest)] = rest
        return rows, fits


def _note(found: Messages, rows: Numbers, kinds: Numbers, body: Bytes) -> None:
    """Stores the messages uint8[M, 24] of the given kinds, which belong to the objects `rows`, in `found`."""
    for is_kind, note in (
        (kinds == DATASPACE, _note_dataspace),
        (kinds == DATATYPE, _note_datatype),
        (kinds == LAYOUT, _note_layout),
    ):
        if is_kind.any():
            note(found, rows[is_kind], body[is_kind])
    for kind, first, second in (
        (SYMBOL_TABLE, found.tree, found.heap),
        (CONTINUATION, found.rest, found.rest_bytes),
    ):
        if (is_kind := kinds == kind).any():
            first[rows[is_kind]] = _int64(body[is_kind, :8])
            second[rows[is_kind]] = _int64(body[is_kind, 8:16])


def _note_dataspace(found: Messages, rows: Numbers, body: Bytes) -> None:
    """Version 1, of one or two dimensions."""
    rank = body[:, 1]
    first, second = _int64(body[:, 8:16]), np.where(rank == 2, _int64(body[:, 16:24]), 1)
    small = (first > 0) & (first <= MAX_COUNT) & (second > 0) & (second <= MAX_COUNT)
    count = np.where(small, first, 0) * np.where(small, second, 0)
    found.ok[rows] &= (body[:, 0] == 1) & ((rank == 1) | (rank == 2)) & small & (count <= MAX_COUNT)
    found.count[rows] = np.minimum(count, MAX_COUNT)


def _note_datatype(found: Messages, rows: Numbers, body: Bytes) -> None:
    for kind, (start, properties) in DATATYPES.items():
        found.kind[rows[_is(body, start + properties)]] = kind


def _note_layout(found: Messages, rows: Numbers, body: Bytes) -> None:
    """Version 3, contiguous."""
    found.ok[rows] &= _is(body, b"\x03\x01")
    found.data[rows], found.data_bytes[rows] = _int64(body[:, 2:10]), _int64(body[:, 10:18])


def _is(rows: Bytes, expected: bytes) -> Mask:
    """bool[N]: which rows uint8[N, ...] start with these bytes."""
    return (rows[:, : len(expected)] == np.frombuffer(expected, np.uint8)).all(axis=1)


def _int64(raw: Bytes) -> Numbers:
    """uint8[..., 8] as int64[...]; an undefined address, all ones, becomes -1."""
    return np.ascontiguousarray(raw).view("<i8")[..., 0]


def _int32(raw: Bytes) -> Numbers:
    return np.ascontiguousarray(raw).view("<u4")[..., 0].astype(np.int64)


def _int16(raw: Bytes) -> Numbers:
    return np.ascontiguousarray(raw).view("<u2")[..., 0].astype(np.int64)
