"""python -m svhn_jax.predict PHOTO ...: reads the house numbers in photos.

PHOTO is a file, a folder, a pattern such as 'photos/*.jpg', or - for a photo on standard input. The
weights are those that come with the package, or those of another run.

Give the box of the number where it is known: --box or --boxes; without one, the number is searched
for. A photo that cannot be read costs one line on stderr; the others are read, and the exit status
is 1.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import tyro
from PIL import Image

from svhn_jax import cli, files
from svhn_jax.checked import Checked, within
from svhn_jax.cli import CSV, OptionalFloat, OptionalPath, OptionalStr
from svhn_jax.data import photos as photo_files
from svhn_jax.data.sources import boxes_csv, labels_csv, named
from svhn_jax.data.sources.named import Named
from svhn_jax.errors import InputError, printable
from svhn_jax.inference import drawing, reading
from svhn_jax.inference.reading import Row
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.photo_reader import AnyBox, Cropped, PhotoReader


@dataclass(frozen=True)
class Options(Checked):
    """Reads the house numbers in photos."""

    photos: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="PHOTO ...", help_behavior_hint=""),
    ] = ()
    """files, folders, patterns, or - for standard input"""
    run: OptionalStr = None
    """the folder of a trained run; by default the weights that come with the package"""
    step: str = "best"
    """its step: best (on validation while training), latest or a step's number"""
    box: OptionalStr = None
    """LEFT,TOP,WIDTH,HEIGHT of the number in one photo, in pixels of the upright photo
    (--box=-5,... if negative)"""
    boxes: OptionalPath = None
    """CSV file of boxes: file,left,top,width,height"""
    whole: bool = False
    """the number fills each photo"""
    tta: bool = False
    """test-time augmentation: average five windows of each crop; five times the work"""
    csv: Annotated[OptionalPath, CSV] = None
    """CSV file to write: a row for each photo"""
    min_confidence: Annotated[OptionalFloat, within(0, 1)] = None
    """mark with "check" what is read with less confidence, for a person to look at"""
    draw: OptionalPath = None
    """new folder for pictures of the photos with box and reading"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.photos:
            raise InputError("no photos given; name files, a folder, a pattern, or - for stdin")
        if (self.box is not None) + (self.boxes is not None) + self.whole > 1:
            raise InputError("--box, --boxes and --whole exclude each other; give one of them")


def main(options: Options, terminal: Terminal) -> int:
    photos = named.find(options.photos)
    boxes = _boxes(options, photos)
    _refuse_to_overwrite(options, photos)
    for path in (options.csv, options.draw):
        if path:
            files.require_writable(path)
    from svhn_jax import load  # imports JAX, which takes seconds: not for --help

    reader = load(options.run, options.step, tta=options.tta)
    terminal.print(reading.header_line())
    rows: list[Row] = []
    with terminal.progress("reading", len(photos), "photos") as advance:
        crops = _crops(options, reader, zip(photos, boxes, strict=True), terminal, advance)
        while chunk := list(islice(crops, 1 if options.draw else reader.batch_size)):
            readings = reader.read_crops([cropped for _, cropped, _ in chunk])
            for (name, _, photo), one in zip(chunk, readings, strict=True):
                least = options.min_confidence
                row = Row(name, one, None if least is None else one.is_doubtful(least))
                rows.append(row)
                terminal.print(row.line())
                terminal.result(row.as_json())
                if options.draw and photo:
                    drawing.draw(options.draw, photo, row)
            del photo, chunk  # one decoded photo is in memory while the next is decoded
    if options.csv:
        text = reading.to_csv(rows, reader.max_digits)
        files.write_bytes(options.csv, text.encode("utf-8", "surrogateescape"))
    _print_summary(options, terminal, len(photos), rows)
    return int(len(rows) < len(photos))


def _boxes(options: Options, photos: Sequence[Named]) -> list["AnyBox"]:
    """For each photo the number's box, "whole", or None where it is not known."""
    if options.whole:
        return ["whole"] * len(photos)
    if options.box is not None:
        if len(photos) != 1:
            count = f"{len(photos)} photos"
            raise InputError(f"--box is the box of one photo, not of {count}; give --boxes, a CSV")
        values = options.box.split(",")
        try:
            if len(values) != 4 or not all(values):
                raise ValueError("it must be LEFT,TOP,WIDTH,HEIGHT, such as 120,80,260,90")
            return [tuple(labels_csv.boxes(values)[0].tolist())]
        except ValueError as error:
            raise InputError(f"--box is {printable(options.box)}: {error}") from None
    if options.boxes is not None:
        found = boxes_csv.read(options.boxes, photos)
        rows = range(len(photos))
        return [(found[row] or "whole") if row in found else None for row in rows]
    return [None] * len(photos)


def _refuse_to_overwrite(options: Options, photos: Sequence[Named]) -> None:
    """Raises InputError if --csv or --draw would replace a file that the user may want to keep."""
    inputs = {os.path.realpath(photo.name) for photo in photos}
    if options.boxes:
        inputs.add(os.path.realpath(options.boxes))
    if options.csv and os.path.realpath(options.csv) in inputs:
        raise InputError(f"--csv is {options.csv}, which is read; give another name")
    if options.csv and options.csv.exists() and not reading.is_csv_of_readings(options.csv):
        raise InputError(f"--csv is {options.csv}, which exists, and is no table of readings")
    if options.draw and os.path.lexists(options.draw):
        folder = os.path.realpath(options.draw)
        if not os.path.isdir(folder) or os.listdir(folder):
            raise InputError(f"--draw is {options.draw}, no empty folder; give a new folder")


def _crops(
    options: Options,
    reader: "PhotoReader",
    photos: Iterable[tuple[Named, "AnyBox"]],
    terminal: Terminal,
    advance: Callable[[int], object],
) -> Iterator[tuple[str, "Cropped", Image.Image | None]]:
    """Name and crops of each photo, with --draw the photo; a line on stderr for a bad one."""
    for photo, box in photos:
        advance(1)
        try:
            image = photo_files.decode_photo(named.read(photo))
            yield photo.name, reader.crop(image, box), image if options.draw else None
        except (ValueError, InputError) as error:
            name = photo.name if len(photo.name) <= 200 else f"…{photo.name[-199:]}"
            terminal.error(f"error: {name}: {error}")


def _print_summary(options: Options, terminal: Terminal, photos: int, rows: list[Row]) -> None:
    """Prints how many of the photos that were found were read, and what was written."""
    of = f"{len(rows):,} of " if len(rows) < photos else ""
    doubtful = sum(bool(row.is_doubtful) for row in rows)
    check = (
        ""
        if options.min_confidence is None
        else f", {doubtful:,} of them to check: confidence below {options.min_confidence:g}"
    )
    terminal.print(f"{of}{photos:,} photo{'s' * (photos != 1)} read{check}")
    if options.csv:
        terminal.print(f"{options.csv}: {len(rows):,} rows")
    if options.draw and rows:
        terminal.print(f"{options.draw}: a picture of each")


if __name__ == "__main__":
    cli.run(Options, main)
