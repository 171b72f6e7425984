"""python -m svhn_jax.predict PHOTO ...: reads the house numbers in photos.

PHOTO is a file, a folder, a pattern such as 'photos/*.jpg', or - for a photo on standard input. The
weights are those that come with the package, or those of another run.

Give the box of the number where it is known: --box or --boxes; without one, the number is searched
for. A photo that cannot be read costs one line on stderr; the others are read, and the exit status
is 1.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from svhn_jax import cli, files
from svhn_jax.checked import Checked, within
from svhn_jax.cli import CSV
from svhn_jax.data import photos as photo_files
from svhn_jax.data.crop import SIDES, box_of
from svhn_jax.data.sources import labels_csv, named
from svhn_jax.errors import InputError, printable
from svhn_jax.labels import NOTHING
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.photo_reader import AnyBox

TOGETHER = 4  # photos: their crops share batches
CSV_START = ("file", "reading", "confidence", "length_p")
FILE_WIDTH = 32  # columns of the printed table
HEADER = f"{'file':{FILE_WIDTH}} {'number':>8} {'confidence':>10}  each digit, %"


@dataclass(frozen=True)
class Options(Checked):
    """Reads the house numbers in photos."""

    photos: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="PHOTO ...", help_behavior_hint=""),
    ] = ()
    """files, folders, patterns, or - for standard input"""
    run: str | None = None
    """the folder of a trained run; by default the weights that come with the package"""
    step: str = "best"
    """its step: best (on validation while training), latest or a step's number"""
    box: str | None = None
    """LEFT,TOP,WIDTH,HEIGHT of the number in one photo, in pixels of the upright photo
    (--box=-5,... if negative)"""
    boxes: Path | None = None
    """CSV file of boxes: file,left,top,width,height"""
    whole: bool = False
    """the number fills each photo"""
    tta: bool = False
    """test-time augmentation: average five windows of each crop; five times the work"""
    csv: Annotated[Path | None, CSV] = None
    """CSV file to write: a row for each photo"""
    min_confidence: Annotated[float | None, within(0, 1)] = None
    """mark with "check" what is read with less confidence, for a person to look at"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.photos:
            raise InputError("no photos given; name files, a folder, a pattern, or - for stdin")
        if (self.box is not None) + (self.boxes is not None) + self.whole > 1:
            raise InputError("--box, --boxes and --whole exclude each other; give one of them")


def main(options: Options, terminal: Terminal) -> int:
    photos = named.find(options.photos)
    pairs = zip(photos, _boxes(options, photos), strict=True)
    if options.csv:
        _refuse_to_overwrite(options.csv)
    from svhn_jax import load  # imports JAX, which takes seconds: not for --help

    reader, least = load(options.run, options.step, tta=options.tta), options.min_confidence
    terminal.print(HEADER)
    rows: list[dict[str, Any]] = []
    with terminal.progress("reading", len(photos), "photos") as advance:
        while batch := list(islice(pairs, TOGETHER)):
            names, prepared = [], []
            for photo, box in batch:
                try:
                    image = photo_files.decode_photo(named.read(photo))
                    prepared.append(reader.prepare(image, box))
                    names.append(photo)
                except (ValueError, InputError) as error:
                    terminal.error(f"error: {photo[-200:]}: {error}")
            for name, one in zip(names, reader.read_prepared(prepared), strict=True):
                doubtful = None if least is None else one.confidence < least
                rows.append({"file": name} | one.as_json() | {"check": doubtful})
                terminal.print(_line(rows[-1]))
                terminal.result(rows[-1])
            advance(len(batch))
    if options.csv:
        text = _to_csv(rows, reader.max_digits)
        files.write_bytes(options.csv, text.encode("utf-8", "surrogateescape"))
    doubts = "" if least is None else f", {sum(row['check'] for row in rows):,} of them to check"
    terminal.print(f"{len(rows):,} of {len(photos):,} photos read{doubts}")
    return int(len(rows) < len(photos))


def _boxes(options: Options, photos: Sequence[str]) -> list["AnyBox"]:
    """For each photo the number's box, "whole", or None where it is not known."""
    if options.box is not None:
        if len(photos) != 1:
            raise InputError("--box is the box of one photo; give --boxes, a CSV, for several")
        try:
            left, top, width, height = map(float, options.box.split(","))
            box_of(left, top, width, height)
        except ValueError as error:
            text = f"{error}; give LEFT,TOP,WIDTH,HEIGHT, such as 120,80,260,90"
            raise InputError(f"--box is {printable(options.box)}: {text}") from None
        return [(left, top, width, height)]
    if options.boxes is not None:
        found = labels_csv.read_boxes(options.boxes, photos)
        rows = range(len(photos))
        return [(found[row] or "whole") if row in found else None for row in rows]
    return ["whole" if options.whole else None] * len(photos)


def _refuse_to_overwrite(table: Path) -> None:
    """Raises InputError if --csv would replace a file that the user may want to keep."""
    if table.exists():
        content = table.read_bytes() if table.is_file() else b"a folder"
        if content and not content.startswith(",".join(CSV_START).encode()):
            raise InputError(f"--csv is {table}, which exists, and is no table of readings")
    files.require_writable(table)


def _line(row: dict[str, Any]) -> str:
    """The row of the printed table; a long path loses its start."""
    file = printable(row["file"][-200:])
    file = file if len(file) <= FILE_WIDTH else f"…{file[1 - FILE_WIDTH :]}"
    number, digits = row["reading"] or NOTHING, " ".join(f"{100 * p:.0f}" for p in row["digits"])
    values = f"{number:>8} {row['confidence']:>10.1%}  {digits:<19}  {_check(row)}"
    return f"{file:{FILE_WIDTH}} {values}".rstrip()


def _check(row: dict[str, Any]) -> str:
    return "check" if row["check"] else ""


def _to_csv(rows: Iterable[dict[str, Any]], max_digits: int) -> str:
    """The table of --csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    digits = [f"digit_{n}_p" for n in range(1, 1 + max_digits)]
    writer.writerow([*CSV_START, *digits, *SIDES, "found", "check"])
    for row in rows:
        each = (row["digits"] + [None] * max_digits)[:max_digits]
        shares, found = [row["confidence"], row["length_p"], *each], row["found"]
        p = ["" if share is None else f"{share:.6f}" for share in (*shares, found)]
        sides = [f"{side:g}" for side in row["box"].values()] if row["box"] else [""] * len(SIDES)
        writer.writerow([row["file"], row["reading"], *p[:-1], *sides, p[-1], _check(row)])
    return text.getvalue()


if __name__ == "__main__":
    cli.run(Options, main)
