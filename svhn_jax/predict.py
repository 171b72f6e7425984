"""python -m svhn_jax.predict PHOTO ...: reads the house numbers in photos.

PHOTO is a file, a folder, a pattern such as 'photos/*.jpg', or - for a photo on standard input. The
weights are those that come with the package, or those of another run.

Give the box of the number where it is known: --box or --boxes; without one, the number is searched
for. A photo that cannot be read costs one line on stderr; the others are read, and the exit status
is 1.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from PIL import Image

from svhn_jax import cli, files
from svhn_jax.checked import Checked, within
from svhn_jax.cli import CSV, OptionalFloat, OptionalPath, OptionalStr
from svhn_jax.data import photos as photo_files
from svhn_jax.data import pictures
from svhn_jax.data.sources import boxes_csv, labels_csv, named
from svhn_jax.data.sources.named import Named
from svhn_jax.errors import InputError, printable
from svhn_jax.inference import reading
from svhn_jax.inference.reading import Row
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.photo_reader import AnyBox

LONGEST_NAME = 50  # characters; a file name has at most 255 bytes


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
    _refuse_to_overwrite(options)
    for path in (options.csv, options.draw):
        if path:
            files.require_writable(path)
    from svhn_jax import load  # imports JAX, which takes seconds: not for --help

    reader = load(options.run, options.step, tta=options.tta)
    terminal.print(reading.HEADER)
    rows: list[Row] = []
    with terminal.progress("reading", len(photos), "photos") as advance:
        for photo, box in zip(photos, boxes, strict=True):
            image = None  # before the next one is decoded
            try:
                image = photo_files.decode_photo(named.read(photo))
                one = reader.read(image, box)
            except (ValueError, InputError) as error:
                name = photo.name if len(photo.name) <= 200 else f"…{photo.name[-199:]}"
                terminal.error(f"error: {name}: {error}")
            else:
                least = options.min_confidence
                doubtful = None if least is None else one.is_doubtful(least)
                rows.append(Row(photo.name, one, doubtful))
                terminal.print(rows[-1].line())
                terminal.result(rows[-1].as_json())
                if options.draw:
                    _draw(options.draw, image, rows[-1])
            advance(1)
    if options.csv:
        text = reading.to_csv(rows, reader.max_digits)
        files.write_bytes(options.csv, text.encode("utf-8", "surrogateescape"))
    of = f"{len(rows):,} of " if len(rows) < len(photos) else ""
    check = f", {sum(bool(row.is_doubtful) for row in rows):,} of them to check"
    check = "" if options.min_confidence is None else check
    terminal.print(f"{of}{len(photos):,} photo{'s' * (len(photos) != 1)} read{check}")
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


def _refuse_to_overwrite(options: Options) -> None:
    """Raises InputError if --csv or --draw would replace a file that the user may want to keep."""
    table, folder = options.csv, options.draw
    if table and table.exists():
        content = table.read_bytes() if table.is_file() else b"a folder"
        if content and not content.startswith(",".join(reading.CSV_START).encode()):
            raise InputError(f"--csv is {table}, which exists, and is no table of readings")
    if folder and os.path.lexists(folder) and not (folder.is_dir() and not os.listdir(folder)):
        raise InputError(f"--draw is {folder}, no empty folder; give a new folder")


def _draw(folder: Path, photo: Image.Image, row: Row) -> None:
    """Writes the picture of an upright RGB photo to NAME.png, or NAME-2.png and so on."""
    text = f"{row.reading.confidence:.1%}" + (f", {row.check}" if row.check else "")
    picture = pictures.annotated(
        photo,
        row.reading.box,
        row.reading.shown,
        text,
        printable(row.file).encode("ascii", "replace").decode(),  # the font has no other letters
        color=pictures.WRONG if row.is_doubtful else pictures.RIGHT,
    )
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.-]", "_", Path(row.file).stem).lstrip(".-")[:LONGEST_NAME] or "photo"
    path, count = folder / f"{stem}.png", 1
    while path.exists():
        count += 1
        path = folder / f"{stem}-{count}.png"
    files.write_bytes(path, pictures.png(picture, compress_level=1))  # the default is slow


if __name__ == "__main__":
    cli.run(Options, main)
