"""The records of a digitStruct.mat that was read before, in the user's cache: records/KEY.npz.

Reading 202,353 records of a 2 GB archive takes a pass over all of it; reading the cache, a second.
A missing or damaged cache is made anew; where the cache folder cannot be written, nothing is cached.
"""

import errno
import fcntl
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from svhn_jax import files
from svhn_jax.data.records import BadRecord, Record
from svhn_jax.data.sources import digit_struct

VERSION = 1  # of the file's layout and of the checks that records have passed
FOLDER = "records"
MAX_FILES = 16  # those used last are kept; one of all published archives takes 40 MB
TEMPORARY = ".unpacked-"
# Each column's kind of type, and the shape of a row.
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    **{"is_good": ("b", ()), "names": ("U", ()), "reasons": ("U", ())},
    **{"counts": ("i", ()), "digits": ("u", ()), "boxes": ("f", (4,))},
}


def get(key: str, read: Callable[[], list[Record | BadRecord]]) -> list[Record | BadRecord]:
    """The cached records, else those that `read` returns, which are then cached.

    Args:
      key: stands for the file's content: its SHA-256, and which part of the file was read.
    """
    path = None
    with suppress(Exception):  # numpy and zipfile raise more than ten kinds on damaged files
        path = files.user_cache() / FOLDER / f"{key}.npz"
        records = _load(path)
        os.utime(path)
        return records
    records = read()
    with suppress(OSError):
        if path:
            _write(path, records)
    return records


def _write(path: Path, records: list[Record | BadRecord]) -> None:
    """Caches records, and removes the files that were used the longest time ago."""
    _folder()
    with temporary_file() as (file, name):
        _save(file, records)
        file.flush()
        os.fsync(file.fileno())
        os.replace(name, path)
    files = sorted(path.parent.glob("*.npz"), key=lambda one: one.lstat().st_mtime_ns)
    for old in files[:-MAX_FILES]:
        old.unlink(missing_ok=True)


@contextmanager
def temporary_file() -> Iterator[tuple[IO[bytes], str]]:
    """A new file, and its name, in the cache folder, or among the temporary files if that cannot be written; removed at the end.

    It is locked while in use, so that one that a killed process left is known, and removed, here.
    """
    file, name = _locked_file()
    try:
        with file:
            yield file, name
    finally:
        Path(name).unlink(missing_ok=True)


def _locked_file() -> tuple[IO[bytes], str]:
    while True:
        try:
            folder = _folder()
            for leftover in folder.glob(f"{TEMPORARY}*"):
                with open(leftover, "rb") as file, suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    leftover.unlink(missing_ok=True)
            number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
        except OSError:
            number, name = tempfile.mkstemp(prefix=TEMPORARY)
        made = open(number, "w+b")  # noqa: SIM115 - held open by the caller
        fcntl.flock(made, fcntl.LOCK_EX)
        if os.fstat(number).st_nlink:
            return made, name
        made.close()  # before it was locked, another process took it for a leftover


def _folder() -> Path:
    """The cache folder, made if it is missing; raises OSError if it cannot be, or is marked read-only."""
    folder = files.user_cache() / FOLDER
    for path in (folder.parent, folder):
        path.mkdir(exist_ok=True)
        if not path.stat().st_mode & 0o222:  # the system lets its administrator write there all the same
            raise PermissionError(errno.EACCES, "read-only", str(path))
    return folder


def _save(file: IO[bytes], records: list[Record | BadRecord]) -> None:
    good = [record for record in records if isinstance(record, Record)]
    bad = [record for record in records if isinstance(record, BadRecord)]
    np.savez(
        file,
        version=VERSION,
        is_good=np.array([isinstance(record, Record) for record in records], bool),
        names=np.array([record.name for record in records], dtype=str),
        reasons=np.array([record.reason for record in bad], dtype=str),
        counts=np.array([len(record.digits) for record in good], np.int64),
        digits=np.array([digit for record in good for digit in record.digits], np.uint8),
        boxes=np.concatenate([np.zeros((0, 4)), *(record.boxes for record in good)]),
    )


def _load(path: Path) -> list[Record | BadRecord]:
    """Raises any exception where the file is not one that `_save` has written."""
    is_good, names, reasons, counts, digits, boxes = _columns(path)
    ends = np.cumsum(counts)
    if len(names) != len(is_good) or len(counts) != is_good.sum() or len(reasons) != (~is_good).sum():
        raise ValueError("columns of different lengths")
    if not len(digits) == len(boxes) == counts.sum() or digits.max(initial=0) > 9 or (counts < 1).any():
        raise ValueError("digits or boxes that do not fit the records")
    if not digit_struct.are_boxes(boxes).all() or not all(map(digit_struct.NAME.fullmatch, names[is_good].tolist())):
        raise ValueError("names or boxes that no record has")
    if not ("".join(names.tolist()) + "".join(reasons.tolist())).isprintable():
        raise ValueError("names or reasons that cannot be shown")
    spans = iter(zip((ends - counts).tolist(), ends.tolist(), strict=True))
    why = iter(reasons.tolist())
    values = digits.tolist()
    records: list[Record | BadRecord] = []
    for name, good in zip(names.tolist(), is_good.tolist(), strict=True):
        if good:
            start, end = next(spans)
            records.append(Record(name, tuple(values[start:end]), boxes[start:end]))
        else:
            records.append(BadRecord(name, next(why)))
    return records


def _columns(path: Path) -> Iterator[np.ndarray]:
    if not path.is_file():  # a pipe would be waited for
        raise FileNotFoundError(path)
    with warnings.catch_warnings(), open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
        warnings.simplefilter("ignore")
        if any(member.compress_type != zipfile.ZIP_STORED for member in file.zip.infolist()):
            raise ValueError("compressed, to who knows what size")
        if file["version"].tolist() != VERSION:
            raise ValueError("another version")
        for name, (kind, row) in COLUMNS.items():
            column = file[name]
            if column.dtype.kind != kind or column.shape[1:] != row or column.ndim != 1 + len(row):
                raise ValueError(f"column {name} of {column.dtype}{column.shape}")
            yield column
