"""What every source gives: records (annotations), photos, and what is skipped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

SOURCE_SPLITS = ("train", "extra", "test")


class Record(NamedTuple):
    """One photo's annotation: file name, digits 0 ... 9 in reading order, boxes.

    boxes: float64[n, 4], (left, top, width, height) in pixels; n = 0: the number fills the photo.
    line: in labels.csv; 0 if the record comes from another file.
    """

    name: str
    digits: tuple[int, ...]
    boxes: np.ndarray
    line: int = 0


class Photo(NamedTuple):
    """A file of the split: its name without the folder, its bytes, or why they cannot be read."""

    name: str
    content: bytes
    problem: str = ""


class Skipped(NamedTuple):
    """A record or photo that cannot be used: its name or position, the reason, the line."""

    name: str
    reason: str
    line: int = 0


@dataclass(frozen=True)
class Source:
    """The photos and records of one split, which the functions read.

    split: train, extra or test. path: of the archive or folder.
    """

    split: str
    path: Path
    records: Callable[[], list[Record | Skipped]]
    photos: Callable[[], Iterator[Photo]]


class Account:
    """Accounts for every record and photo of a source: each is used, or skipped with a reason.

    Attributes:
      records: the usable ones, at most one for each name, in the order of the source.
      skipped: records and photos, in the order in which they were found.
    """

    def __init__(self, source: Source):
        self.source = source
        self.skipped: list[Skipped] = []
        usable: dict[str, Record] = {}
        for record in source.records():
            if isinstance(record, Skipped):
                self.skipped.append(record)
            elif record.name in usable:
                self.skipped.append(Skipped(record.name, "a second record of that name"))
            else:
                usable[record.name] = record
        self._known = usable.keys() | {one.name for one in self.skipped}
        self.records = list(usable.values())
        self._rows = {record.name: row for row, record in enumerate(self.records)}

    def lengths(self) -> np.ndarray:
        """int[N]: the number of digits of each usable record."""
        return np.array([len(record.digits) for record in self.records], int)

    def photos(self) -> Iterator[tuple[Photo, int]]:
        """Yields every photo that can be read and has a usable record, with its row in `records`.

        The others are skipped, and after the last photo the records that have none.
        """
        missing = dict(self._rows)
        for photo in self.source.photos():
            row = missing.pop(photo.name, None)
            if row is not None and not photo.problem:
                yield photo, row
            elif row is not None or photo.name not in self._known:
                self.skip(photo.name, photo.problem or "no record of that name")
        for name in missing:
            self.skip(name, "no such photo")

    def skip(self, name: str, reason: str) -> None:
        """Notes that a photo, or a record without a photo, is skipped."""
        line = self.records[self._rows[name]].line if name in self._rows else 0
        self.skipped.append(Skipped(name, reason, line))
