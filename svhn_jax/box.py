"""python -m svhn_jax.box PHOTOS --to NEW: finds boxes of numbers whose digits are known.

PHOTOS has a labels.csv (svhn_jax.data.sources.labels_csv). A row without a box gets the box of that
candidate of the finder whose digits most probably are the label, to reader or finder. NEW gets
copies of the photos and a labels.csv with all boxes, for svhn_jax.preprocess. Photos whose number
is not found, and damaged ones, are left out: one line on stderr each, and status 1.
"""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from svhn_jax import cli, files, labels
from svhn_jax.checked import Checked
from svhn_jax.data import writing
from svhn_jax.data.crop import union
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import labels_csv
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.photo_reader import PhotoReader

LEAST = 0.2  # probability of the number under its box


@dataclass(frozen=True)
class Options(Checked):
    """Finds the boxes of numbers whose digits are known."""

    photos: tyro.conf.Positional[Path]
    """folder of photos with labels.csv"""
    to: Path
    """folder for copies of the photos and the new labels.csv; it must not exist"""
    run: str | None = None
    """the folder of a trained run; by default the weights that come with the package"""


def main(options: Options, terminal: Terminal) -> int:
    if options.to.exists():
        raise InputError(f"{options.to}: exists already; give another --to")
    records = labels_csv.read(options.photos / labels_csv.NAME)
    files.require_writable(options.to)
    from svhn_jax import load  # imports JAX, which takes seconds: not for --help

    reader = load(options.run)
    rows: list[list[str]] = []
    with (
        writing.building(options.to) as unfinished,
        terminal.progress("finding numbers", len(records), "photos") as advance,
    ):
        for record in records:
            try:
                rows.append(_row(options.photos, reader, record))
            except (ValueError, InputError) as error:
                terminal.error(f"left out: {record.name}: {error}")
            else:
                (unfinished / record.name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(options.photos / record.name, unfinished / record.name)
            advance(1)
        if not rows:
            raise InputError(f"{options.photos}: no number was found")
        with open(unfinished / labels_csv.NAME, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([labels_csv.COLUMNS, *rows])
    terminal.print(f"{options.to}: boxes of {len(rows):,} of {len(records):,} photos")
    terminal.result({"photos": len(records), "boxes": len(rows)})
    return int(len(rows) < len(records))


def _row(folder: Path, reader: "PhotoReader", record: Record | Skipped) -> list[str]:
    """A row of the new labels.csv; ValueError, InputError: why there is none."""
    if isinstance(record, Skipped):
        raise ValueError(record.reason)
    number, box = "".join(map(str, record.digits)), union(record.boxes)
    if not box:
        crops, candidates = reader.prepare(folder / record.name)
        if not isinstance(candidates, list) or not crops:
            raise ValueError("no number is found in it")
        label = labels.encode(record.digits, reader.max_digits)
        p = np.exp(reader.reader.log_p(np.stack(crops), np.tile(label, (len(crops), 1))))
        # The finder reads stacks of digits, which the reader cannot.
        found = [(one.number == number) * np.prod(one.digits) for one in candidates]
        p = np.maximum(p, np.array(found))
        if p.max() < LEAST:
            raise ValueError(f"read as that number with probability {p.max():.2f} at most")
        box = candidates[int(p.argmax())].box
    return [record.name, number, *(f"{side:.2f}" for side in box.left_top_width_height())]


if __name__ == "__main__":
    cli.run(Options, main)
