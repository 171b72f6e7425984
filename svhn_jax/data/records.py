"""The data that every source gives: records (annotations), photos, and what is skipped."""

from typing import NamedTuple

import numpy as np


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

    def __str__(self) -> str:
        return f"{self.name} (line {self.line})" if self.line else self.name
