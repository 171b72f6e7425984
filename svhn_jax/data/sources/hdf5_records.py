"""Reads records of a digitStruct.mat one by one with the HDF5 library, in a child process.

This is the slow way, for layouts that svhn_jax.data.sources.hdf5_walk does not understand. The library
can crash or hang on a damaged file; in a child process that does not affect the caller.
"""

import math
import multiprocessing
import resource
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5r, h5s, h5t

from svhn_jax.errors import InputError

MAX_BOXES = 1000  # far more than any house number has
MAX_NAME_CHARACTERS = 255
FIELDS = (b"label", b"left", b"top", b"width", b"height")
MEMORY_BYTES = 3 * 2**29
SECONDS, SECONDS_PER_RECORD = 6.0, 0.01  # the library reads a thousand records a second and more
RECORD_BYTES, MIN_RECORD_BYTES = (
    5000,
    500,
)  # MATLAB takes some 7,000, the densest layout of HDF5 some 1,900
MAX_BAD_RECORDS = 10_000

Columns = tuple[list[float], ...]
Entry = tuple[str, Columns | str]
"""A record's name and its five fields, or its name and why they cannot be read."""


def read(path: str | Path, called: str, rows: Sequence[int] | None) -> list[Entry]:
    """The records `rows` of a digitStruct.mat, or all of them. Only their structure is checked.

    Raises:
      InputError: the file is not HDF5, has no digitStruct with name and bbox, or makes the library crash or hang.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(there, str(path), rows), daemon=True)
    child.start()
    there.close()
    try:
        count = Path(path).stat().st_size / RECORD_BYTES if rows is None else len(rows)
        if not here.poll(SECONDS + SECONDS_PER_RECORD * count):
            raise InputError(
                f"{called}: the HDF5 library did not finish reading it; download it again"
            )
        answer = here.recv()
    except EOFError:
        raise InputError(f"{called}: the HDF5 library crashed on it; download it again") from None
    finally:
        child.kill()
        child.join()
    if isinstance(answer, str):
        raise InputError(f"{called}: {answer}; download it again")
    return answer


def _answer(there: Connection, path: str, rows: Sequence[int] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        there.send(_read_all(path, rows))
    except MemoryError:
        there.send(f"needs more than {MEMORY_BYTES / 2**30:.1f} GiB to read")


def _read_all(path: str, rows: Sequence[int] | None) -> list[Entry] | str:
    """The records, or what is wrong with the whole file."""
    with ExitStack() as opened:
        try:
            # Not by its path: HDF5 needs the real path, and the unpacked temporary file has none.
            file = opened.enter_context(h5py.File(opened.enter_context(open(path, "rb")), "r"))
        except OSError as error:
            return f"not a readable MATLAB v7.3 (HDF5) file ({error})"
        try:
            struct = (
                file["digitStruct"]
                if isinstance(file.get("digitStruct", getlink=True), h5py.HardLink)
                else None
            )
            if not isinstance(struct, h5py.Group):
                return "no digitStruct with name and bbox in it"
            columns = [_reference_column(struct, name) for name in ("name", "bbox")]
        except (
            KeyError,
            IndexError,
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            RuntimeError,
        ) as error:
            return f"no digitStruct with name and bbox in it ({error})"
        names, boxes = columns
        if len(names) != len(boxes):
            return f"{len(names)} names but {len(boxes)} boxes"
        return _read_entries(file, names, boxes, range(len(names)) if rows is None else rows)


def _read_entries(
    file: h5py.File, names: np.ndarray, boxes: np.ndarray, rows: Sequence[int]
) -> list[Entry] | str:
    entries, bad = [], 0
    for row in rows:
        entries.append(_read_entry(file, row, names[row], boxes[row]))
        bad += isinstance(entries[-1][1], str)
        if bad > MAX_BAD_RECORDS:
            return f"more than {MAX_BAD_RECORDS:,} of its records cannot be read, the last, {entries[-1][0]}: {entries[-1][1]}"
    return entries


def _reference_column(struct: h5py.Group, name: str) -> np.ndarray:
    if not isinstance(struct.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is missing, or is a link")
    dataset = struct[name]
    _refuse_elsewhere(dataset.id)
    if dataset.ndim != 2 or dataset.dtype != h5py.ref_dtype:
        raise ValueError(f"{name} is not a column of references")
    if dataset.shape[0] * MIN_RECORD_BYTES > struct.file.id.get_filesize():
        raise ValueError(
            f"{name} claims {dataset.shape[0]} records, more than the file has room for"
        )
    return dataset[:, 0]


def _refuse_elsewhere(dataset: h5d.DatasetID) -> None:
    """Raises ValueError if the dataset keeps its data in another file."""
    settings = dataset.get_create_plist()
    if settings.get_external_count() or settings.get_layout() == h5d.VIRTUAL:
        raise ValueError("data in another file")


def _read_entry(file: h5py.File, row: int, name_ref: Any, box_ref: Any) -> Entry:
    name = f"record {row + 1}"
    try:
        name = _read_name(file, name_ref)
        group = h5r.dereference(box_ref, file.id)
        if not isinstance(group, h5g.GroupID):
            raise ValueError("no box: its bbox is no group")
        return name, tuple(_read_field(file, group, field) for field in FIELDS)
    except (ValueError, KeyError, TypeError, OSError, RuntimeError, OverflowError) as error:
        return name, " ".join(str(error).split())


def _dataset(file: h5py.File, ref: Any) -> h5d.DatasetID:
    found = h5r.dereference(ref, file.id)
    if not isinstance(found, h5d.DatasetID):
        raise ValueError("a reference leads nowhere")
    _refuse_elsewhere(found)
    return found


def _read_name(file: h5py.File, ref: Any) -> str:
    dataset = _dataset(file, ref)
    if not 0 < math.prod(dataset.shape) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"a name of shape {dataset.shape}")
    codes = np.empty(dataset.shape, np.uint16)
    dataset.read(h5s.ALL, h5s.ALL, codes)
    return "".join(map(chr, codes.ravel()))


def _read_field(file: h5py.File, group: h5g.GroupID, field: bytes) -> list[float]:
    if not group.links.exists(field):
        raise ValueError(f"no box: its bbox has no field {field.decode()}")
    if group.links.get_info(field).type != h5l.TYPE_HARD:
        raise ValueError(f"its field {field.decode()} is a link")
    dataset = h5d.open(group, field)
    _refuse_elsewhere(dataset)
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
            raise ValueError(
                f"its field {field.decode()} refers to an array of shape {target.shape}"
            )
        target.read(h5s.ALL, h5s.ALL, scalar)
        values.append(float(scalar[0, 0]))
    return values
