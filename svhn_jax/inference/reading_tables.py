"""Readings of photos as JSON, as rows of a CSV file, and as a table of 80 columns that grows while photos are read."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich import box as boxes
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from svhn_jax import files
from svhn_jax.data.crop import SIDES
from svhn_jax.errors import printable
from svhn_jax.inference.reading import Reading, as_json
from svhn_jax.labels import MOST_DIGITS, NOTHING

NUMBER, CONFIDENCE, CHECK = "number", "confidence", "check"
DIGITS = "each digit, %"
LEAST_WIDTH = 10  # of the column of files


class Row(NamedTuple):
    """A photo, and what is read in it; is_doubtful: whether a person should check it, None if that was not asked."""

    file: str
    reading: Reading
    is_doubtful: bool | None

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file} | as_json(self.reading) | {CHECK: self.is_doubtful}


def columns(max_digits: int) -> list[str]:
    """The header of the CSV file of a network that reads so many digits."""
    digits = [f"digit_{n}_p" for n in range(1, 1 + max_digits)]
    return ["file", "reading", "confidence", "length_p", *digits, *SIDES, "found", CHECK]


def is_readings(path: Path) -> bool:
    """Whether a file begins with the header of `columns`, for any network; or is empty, so that it holds nothing to lose."""
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        first = stream.readline(1000)
    return first.decode("latin-1") in (
        "",
        *(f"{','.join(columns(n))}\n" for n in range(1, 1 + MOST_DIGITS)),
    )


class CsvFile:
    """A CSV file of readings that is being written; errors name `path`, where it will appear."""

    def __init__(self, unfinished: Path, path: Path, max_digits: int):
        self._path, self._max_digits = path, max_digits
        with files.naming(path):  # a name that is not UTF-8 keeps its bytes
            self._stream = open(  # noqa: SIM115
                unfinished, "w", encoding="utf-8", errors="surrogateescape", newline=""
            )
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(columns(max_digits))

    def add(self, row: Row) -> None:
        reading = row.reading
        digits = [_share(p) for p in reading.digits]
        digits += [""] * (self._max_digits - len(digits))
        box = (
            [f"{side:g}" for side in reading.box.left_top_width_height()]
            if reading.box
            else [""] * len(SIDES)
        )
        found = "" if reading.found is None else _share(reading.found)
        first = [row.file, reading.number, _share(reading.confidence), _share(reading.length_p)]
        with files.naming(self._path):
            self._writer.writerow([*first, *digits, *box, found, CHECK if row.is_doubtful else ""])

    def close(self) -> None:
        with files.naming(self._path):
            self._stream.close()


@contextmanager
def csv_file(path: Path, max_digits: int) -> Iterator[CsvFile]:
    """A CSV file to which rows are added one by one; it appears at `path` as a whole once the block ends."""
    with files.replacing(path) as unfinished:
        file = CsvFile(unfinished, path, max_digits)
        try:
            yield file
        finally:
            file.close()


class GrowingTable:
    """A table on the console, printed a few rows at a time, so that it holds none.

    Where the console is too narrow for the probabilities of the digits, that column is left out.
    """

    def __init__(self, console: Console, max_digits: int, *, has_check: bool):
        number, digits = max(len(NOTHING), max_digits + 1), max(len(DIGITS), 4 * max_digits - 1)
        self._widths = {NUMBER: number, CONFIDENCE: len(CONFIDENCE), DIGITS: digits} | (
            {CHECK: len(CHECK)} if has_check else {}
        )
        if self._left(console) < LEAST_WIDTH:
            del self._widths[DIGITS]
        self._console, self._file_width, self._is_begun = (
            console,
            max(LEAST_WIDTH, self._left(console)),
            False,
        )

    def _left(self, console: Console) -> int:
        """The width that is left for the column of files; a space and the box's divider stand before each other column."""
        return console.width - sum(self._widths.values()) - 2 * len(self._widths)

    def add(self, rows: Sequence[Row]) -> None:
        if not rows or self._console.quiet:
            return
        table = Table(
            box=boxes.SIMPLE_HEAD,
            show_header=not self._is_begun,
            show_edge=False,
            pad_edge=False,
            padding=(0, 0, 0, 1),
        )
        table.add_column("file", width=self._file_width, no_wrap=True)
        for heading, width in self._widths.items():
            justify: Literal["left", "right"] = "left" if heading in (DIGITS, CHECK) else "right"
            if (
                heading == NUMBER
            ):  # never cut: on a console that is too narrow even for it, it takes two lines
                table.add_column(heading, width=width, overflow="fold", justify=justify)
            else:
                table.add_column(heading, width=width, no_wrap=True, justify=justify)
        for row in rows:
            reading, file = row.reading, _without_start(printable(row.file), self._file_width)
            values = {
                NUMBER: reading.shown,
                CONFIDENCE: f"{reading.confidence:.1%}",
                DIGITS: " ".join(f"{100 * p:.0f}" for p in reading.digits),
                CHECK: CHECK if row.is_doubtful else "",
            }
            table.add_row(file, *(values[heading] for heading in self._widths))
        self._console.print(table)
        self._is_begun = True


def _share(value: float) -> str:
    return f"{value:.6f}"


def _without_start(text: str, width: int) -> str:
    """The end of a path that fits into so many columns of a terminal."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) > width - 1:
        text = text[1:]
    return f"…{text}"
