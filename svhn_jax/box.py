"""python -m svhn_jax.box PHOTOS --run FOLDER --to NEW: finds the boxes of numbers whose digits are known.

PHOTOS has a labels.csv (svhn_jax.data.sources.labels_csv). A row without a box gets the box under which the run's network
reads its number with the greatest probability. NEW gets copies of the photos and a labels.csv with all boxes, for
svhn_jax.preprocess. Photos whose number the network does not find, and damaged ones, are left out, and named in
NEW/not_found.csv.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import csv
import io
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from PIL import Image

from svhn_jax import command_line, files, output
from svhn_jax.checked import Checked, within
from svhn_jax.data import photos, writing
from svhn_jax.data.crop import union
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import labels_csv
from svhn_jax.errors import InputError, printable, run_command
from svhn_jax.options import OutputOptions
from svhn_jax.output import Output

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.reader import Reader

NOT_FOUND = "not_found.csv"
PHOTOS_AT_ONCE = 16  # decoded photos in memory


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
    output: OutputOptions = field(default_factory=Output)


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.box", __doc__ or "")
    console = output.console(options.output)
    table = options.photos / labels_csv.NAME
    if not options.photos.is_dir():
        raise InputError(f"{options.photos}: not a folder; give the folder of the photos")
    if not table.is_file():
        raise InputError(
            f"{table}: no such file; write file,label in its first line, and a photo in each row"
        )
    if options.to.exists():
        raise InputError(f"{options.to}: exists already; move it away, or give another --to")
    if options.to.resolve().is_relative_to(options.photos.resolve()):
        raise InputError(f"{options.to}: lies in the folder of the photos; give another --to")
    files.require_writable(options.to)
    records = labels_csv.read(table)
    if bad := [record for record in records if isinstance(record, Skipped)]:
        raise InputError(
            f"{table}: {len(bad)} rows cannot be used; correct or delete them",
            [f"line {one.line}: {printable(one.name)}: {one.reason}" for one in bad],
        )
    from svhn_jax.inference.reader import Reader  # imports JAX, which takes seconds: not for --help
    from svhn_jax.training import compilation

    compilation.enable_compilation_cache()
    reader = Reader(options.run, options.step)
    with writing.building(options.to, resumes=False) as folder:
        found = _write(options, reader, [one for one in records if isinstance(one, Record)], folder)
    others = f"; {NOT_FOUND} names the others" if found < len(records) else ""
    console.print(
        f"{options.to}: boxes of {found:,} of {len(records):,} photos{others}", soft_wrap=True
    )
    output.print_json(options.output, {"photos": len(records), "boxes": found})
    return 0


def _write(options: Options, reader: "Reader", records: list[Record], folder: Path) -> int:
    """Copies the photos whose number is found, and writes both tables. Returns the number of these photos."""
    rows: list[list[object]] = [list(labels_csv.COLUMNS)]
    not_found: list[list[object]] = [["file", "label", "reason"]]
    with output.progress("finding numbers", len(records), "photos") as advance:
        for start in range(0, len(records), PHOTOS_AT_ONCE):
            chunk = records[start : start + PHOTOS_AT_ONCE]
            for record, outcome in _find(options, reader, chunk):
                number = "".join(map(str, record.digits))
                if isinstance(outcome, str):
                    not_found.append([record.name, number, outcome])
                    continue
                rows.append([record.name, number, *(f"{value:.2f}" for value in outcome)])
                (folder / record.name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(options.photos / record.name, folder / record.name)
                files.sync(folder / record.name)
            advance(len(chunk))
    if len(rows) == 1:
        raise InputError(
            f"{options.photos}: no number was found in {len(records):,} photos; give another --run or --min-confidence",
            [f"{name}: {reason}" for name, _, reason in not_found[1:]],
        )
    for name, table in ((labels_csv.NAME, rows), (NOT_FOUND, not_found)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        files.write_text(folder / name, text.getvalue())
    return len(rows) - 1


def _find(
    options: Options, reader: "Reader", records: list[Record]
) -> list[tuple[Record, tuple[float, float, float, float] | str]]:
    """For each record its box (left, top, width, height), in pixels, or why there is none."""
    from svhn_jax.inference.boxing import find_boxes

    outcomes: dict[str, tuple[float, float, float, float] | str] = {}
    wanted: list[tuple[Record, Image.Image]] = []
    for record in records:
        if known := union(record.boxes):
            outcomes[record.name] = known.left_top_width_height()
            continue
        photo = photos.read_photo(options.photos, record.name)
        if len(record.digits) > reader.max_digits:
            outcomes[record.name] = (
                f"a number of more than {reader.max_digits} digits, which the network cannot read"
            )
            continue
        try:
            if photo.problem:
                raise ValueError(photo.problem)
            wanted.append((record, photos.decode_photo(photo.content)))
        except ValueError as error:
            outcomes[record.name] = str(error)
    numbers = [(photo, "".join(map(str, record.digits))) for record, photo in wanted]
    for (record, _), found in zip(wanted, find_boxes(reader, numbers), strict=True):
        confidence = math.exp(found.log_p)
        outcomes[record.name] = (
            found.box.left_top_width_height()
            if confidence >= options.min_confidence
            else f"read as that number with probability {confidence:.2f} at most"
        )
    return [(record, outcomes[record.name]) for record in records]


if __name__ == "__main__":
    run_command(main)
