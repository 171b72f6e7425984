"""What a digitStruct.mat says, kept beside it: FOLDER/.records/SHA256.npz, of the archive's or the file's SHA-256.

Reading 202,353 records of a 2 GB archive takes a pass over all of it; reading the cache, a second.
A cache that is not there, or is not sound, is made anew; one that cannot be written is done without.
"""

import errno
import fcntl
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from svhn_jax.data.digit_struct import BadRecord, Record

VERSION = 1  # of the file's layout and of the checks that records have passed
FOLDER = ".records"
TEMPORARY = ".unpacked-"


def get(folder: Path, sha256: str, read: Callable[[], list[Record | BadRecord]]) -> list[Record | BadRecord]:
    """The records cached in `folder` under this checksum, else those that `read` returns, which are then cached."""
    path = folder / FOLDER / f"{sha256}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return _load(path)
    records = read()
    with suppress(OSError):
        _refuse_read_only(folder)
        path.parent.mkdir(exist_ok=True)
        with temporary_file(path.parent) as (file, name):
            _save(file, records)
            file.flush()
            os.fsync(file.fileno())
            os.replace(name, path)
    return records


@contextmanager
def temporary_file(folder: Path) -> Iterator[tuple[IO[bytes], str]]:
    """A new file, and its name, in `folder`, or among the temporary files where `folder` cannot be written; removed at the end.

    It is locked while in use, so that one that a killed process left is known, and removed, here.
    """
    try:
        _refuse_read_only(folder)
        for leftover in folder.glob(f"{TEMPORARY}*"):
            with open(leftover, "rb") as file, suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink(missing_ok=True)
        number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    except OSError:
        number, name = tempfile.mkstemp(prefix=TEMPORARY)
    try:
        with open(number, "w+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file, name
    finally:
        Path(name).unlink(missing_ok=True)


def _refuse_read_only(folder: Path) -> None:
    """The system lets its administrator write anywhere; a folder marked read-only is meant to stay as it is."""
    if not folder.stat().st_mode & 0o222:
        raise PermissionError(errno.EACCES, "read-only", str(folder))


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
    with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
        if file["version"] != VERSION:
            raise ValueError("another version")
        is_good, names, reasons, counts, digits, boxes = (
            file[name] for name in ("is_good", "names", "reasons", "counts", "digits", "boxes")
        )
    ends = np.cumsum(counts)
    if len(names) != len(is_good) or len(counts) != is_good.sum() or len(reasons) != (~is_good).sum():
        raise ValueError("columns of different lengths")
    if not len(digits) == len(boxes) == counts.sum() or digits.max(initial=0) > 9 or (counts < 1).any():
        raise ValueError("digits or boxes that do not fit the records")
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
