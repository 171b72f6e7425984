"""Readings of photos: as values, JSON, CSV and printed lines. Imports no JAX."""

import csv
import io
from collections.abc import Iterable
from typing import Any, NamedTuple

from svhn_jax.data.crop import SIDES, Box
from svhn_jax.errors import printable
from svhn_jax.labels import NOTHING

CHECK = "check"
FILE_WIDTH = 32  # columns of the printed table
CSV_START = ("file", "reading", "confidence", "length_p")


class Reading(NamedTuple):
    """The number in a photo.

    number: its digits as text, such as "102"; with "+" after as many digits as the network reads,
      where there are more; "" where no number was read.
    confidence: probability that the whole number is right, 0 to 1, as well calibrated as the run
      is; where the number was searched for, also that it is in this place; 0 if none was found.
    digits: probability of each digit of `number`.
    length_p: probability of its length.
    box: of the number, in pixels of the upright photo; None if the whole photo was read, or no
      place was found.
    found: score of the box, 0 to 1, if it was searched for; 0 where none was found; None if it was
      given.
    """

    number: str
    confidence: float
    digits: tuple[float, ...]
    length_p: float
    box: Box | None
    found: float | None

    @property
    def shown(self) -> str:
        """The number as people are shown it."""
        return self.number or NOTHING

    def is_doubtful(self, min_confidence: float) -> bool:
        """Whether a person should check it: its confidence is below this one."""
        return self.confidence < min_confidence


def as_json(reading: Reading) -> dict[str, Any]:
    """A reading as JSON values; `box` has left, top, width and height in pixels."""
    box = reading.box
    return {
        "reading": reading.number,
        "confidence": reading.confidence,
        "digits": list(reading.digits),
        "length_p": reading.length_p,
        "box": dict(zip(SIDES, box.left_top_width_height(), strict=True)) if box else None,
        "found": reading.found,
    }


class Row(NamedTuple):
    """A photo and its reading; is_doubtful: a person should check it, None if not asked for."""

    file: str
    reading: Reading
    is_doubtful: bool | None

    @property
    def check(self) -> str:
        return CHECK if self.is_doubtful else ""

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file} | as_json(self.reading) | {CHECK: self.is_doubtful}

    def line(self) -> str:
        """The row of the printed table; a long path loses its start."""
        reading, file = self.reading, printable(self.file[-200:])
        file = file if len(file) <= FILE_WIDTH else f"…{file[1 - FILE_WIDTH :]}"
        digits = " ".join(f"{100 * p:.0f}" for p in reading.digits)
        values = f"{reading.shown:>8} {reading.confidence:>10.1%}  {digits:<19}  {self.check}"
        return f"{file:{FILE_WIDTH}} {values}".rstrip()


HEADER = f"{'file':{FILE_WIDTH}} {'number':>8} {'confidence':>10}  each digit, %"


def to_csv(rows: Iterable[Row], max_digits: int) -> str:
    """A CSV file of readings by a network that reads so many digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    digits = [f"digit_{n}_p" for n in range(1, 1 + max_digits)]
    writer.writerow([*CSV_START, *digits, *SIDES, "found", CHECK])
    for row in rows:
        reading, box = row.reading, row.reading.box
        shares = [reading.confidence, reading.length_p, *reading.digits]
        blanks = [""] * (max_digits - len(reading.digits))
        sides = [f"{side:g}" for side in box.left_top_width_height()] if box else [""] * len(SIDES)
        found = "" if reading.found is None else f"{reading.found:.6f}"
        values = [*(f"{share:.6f}" for share in shares), *blanks, *sides, found, row.check]
        writer.writerow([row.file, reading.number, *values])
    return text.getvalue()
