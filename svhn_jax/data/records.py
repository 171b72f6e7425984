"""What every source gives: annotations, photos, and what is left out."""

from typing import NamedTuple

import numpy as np


class Record(NamedTuple):
    """One photo's annotation: file name, digits 0 ... 9 in reading order, boxes.

    boxes: float64[n, 4], (left, top, width, height) in pixels, the photo's corner at (0, 0).
    No boxes, float64[0, 4]: the number fills the photo.
    line: in labels.csv; 0 where the record comes from another file.
    """

    name: str
    digits: tuple[int, ...]
    boxes: np.ndarray
    line: int = 0


class BadRecord(NamedTuple):
    """A record that cannot be used: its name, or its position in the file, why, and its line as in `Record`."""

    name: str
    reason: str
    line: int = 0


class Photo(NamedTuple):
    """A file of the split: its name without the folder, its bytes, or why they cannot be had."""

    name: str
    content: bytes
    problem: str = ""


class Skipped(NamedTuple):
    """A record or photo that is left out: its name, why, and its line in labels.csv; 0 where there is no such line."""

    name: str
    reason: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.name} (line {self.line})" if self.line else self.name
