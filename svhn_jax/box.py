"""python -m svhn_jax.box PHOTOS --run FOLDER --to NEW: finds boxes of numbers of known digits.

PHOTOS has a labels.csv (svhn_jax.data.sources.labels_csv). A row without a box gets the box under
which the run's network reads its number with the greatest probability. NEW gets copies of the
photos and a labels.csv with all boxes, for svhn_jax.preprocess. Photos whose number the network
does not find, and damaged ones, are left out: one line on stderr each, and status 1.
"""

import csv
import io
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from svhn_jax import cli, files
from svhn_jax.checked import Checked, within
from svhn_jax.data import photos
from svhn_jax.data.crop import union
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import labels_csv
from svhn_jax.errors import InputError, printable
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.reader import Reader

BATCH_SIZE = 32  # crops: a photo's boxes are tried 24 at a time

Sides = tuple[float, float, float, float]


@dataclass(frozen=True)
class Options(Checked):
    """Finds the boxes of numbers whose digits are known."""

    photos: tyro.conf.Positional[Path]
    """folder of photos with labels.csv"""
    run: str
    """the folder of a trained run"""
    to: Path
    """folder for copies of the photos and the new labels.csv; it must not exist"""
    step: str = "best"
    """the step that finds them: best (on validation while training), latest or a step's number"""
    min_confidence: Annotated[float, within(0, 1)] = 0.2
    """least probability of the number under the box; below it the photo is left out"""


def main(options: Options, terminal: Terminal) -> int:
    records = _records(options)
    files.require_writable(options.to)
    from svhn_jax.inference.reader import Reader  # imports JAX, which takes seconds: not for --help

    reader = Reader(options.run, options.step, batch_size=BATCH_SIZE)
    rows: list[list[str]] = []
    with terminal.progress("finding numbers", len(records), "photos") as advance:
        for record in records:
            number = "".join(map(str, record.digits))
            try:
                box = _box(options, reader, record, number)
            except ValueError as error:
                terminal.error(f"left out: {printable(record.name)}: {error}")
            else:
                rows.append([record.name, number, *(f"{side:.2f}" for side in box)])
            advance(1)
    if not rows:
        raise InputError(f"{options.photos}: no number was found; give another --min-confidence")
    for name, *_ in rows:
        (options.to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.photos / name, options.to / name)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([labels_csv.COLUMNS, *rows])
    files.write_text(options.to / labels_csv.NAME, text.getvalue())
    terminal.print(f"{options.to}: boxes of {len(rows):,} of {len(records):,} photos")
    terminal.result({"photos": len(records), "boxes": len(rows)})
    return int(len(rows) < len(records))


def _records(options: Options) -> list[Record]:
    """The rows of the labels.csv; InputError if a row, or --to, cannot be used."""
    table = options.photos / labels_csv.NAME
    if not table.is_file():
        raise InputError(f"{table}: no such file; write file,label in line 1, a photo in each row")
    if options.to.exists() or options.to.resolve().is_relative_to(options.photos.resolve()):
        raise InputError(f"{options.to}: exists, or lies in the photos' folder; give another --to")
    records = labels_csv.read(table)
    if bad := [one for one in records if isinstance(one, Skipped)]:
        raise InputError(
            f"{table}: {len(bad)} rows cannot be used; correct or delete them",
            [f"line {one.line}: {printable(one.name)}: {one.reason}" for one in bad],
        )
    return [one for one in records if isinstance(one, Record)]


def _box(options: Options, reader: "Reader", record: Record, number: str) -> Sides:
    """The box (left, top, width, height) of a record, in pixels; ValueError: why there is none."""
    from svhn_jax.inference.boxing import find_box

    if known := union(record.boxes):
        return known.left_top_width_height()
    if len(number) > reader.max_digits:
        raise ValueError(f"more than {reader.max_digits} digits, which the network cannot read")
    photo = photos.read_photo(options.photos, record.name)
    if photo.problem:
        raise ValueError(photo.problem)
    box, log_p = find_box(reader, photos.decode_photo(photo.content), number)
    if math.exp(log_p) < options.min_confidence:
        raise ValueError(f"read as that number with probability {math.exp(log_p):.2f} at most")
    return box.left_top_width_height()


if __name__ == "__main__":
    cli.run(Options, main)
