"""python -m svhn_jax.predict PHOTO ...: reads the house numbers in photos.

PHOTO is a file, a folder, a pattern such as 'photos/*.jpg', or - for a photo on standard input. The weights are those of the
package, svhn_jax/weights/reader, or of another run.

Give the box of the number where it is known: --box or --boxes; without one, the number is searched for. A photo that cannot be
read costs one line on stderr; the others are read, and the exit status is 1.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, NamedTuple

import tyro
from PIL import Image
from rich.console import Console

from svhn_jax import command_line, files, output
from svhn_jax.checked import Checked, within
from svhn_jax.data import photos as photo_files
from svhn_jax.data.sources import boxes_csv, labels_csv, named
from svhn_jax.data.sources.named import Named
from svhn_jax.errors import InputError, print_to_stderr, printable, run_command
from svhn_jax.inference.reading_pictures import Drawer
from svhn_jax.inference.reading_tables import GrowingTable, Row, csv_file, is_readings
from svhn_jax.options import CSV, OptionalPath, OptionalStr, OutputOptions
from svhn_jax.output import Output

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.photo_reader import AnyBox, Cropped, PhotoReader

OptionalFloat = Annotated[
    float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(optional)")
]
HELD_PIXELS = 2**24  # of photos held for --draw while others are decoded


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
    """LEFT,TOP,WIDTH,HEIGHT of the number in one photo, in pixels of the upright photo (--box=-5,... if negative)"""
    boxes: OptionalPath = None
    """CSV file of boxes: file,left,top,width,height"""
    whole: bool = False
    """the number fills each photo"""
    tta: bool = False
    """test-time augmentation: average five windows of each crop, shifted by three pixels; five times the work"""
    csv: Annotated[OptionalPath, CSV] = None
    """CSV file to write: a row for each photo"""
    min_confidence: Annotated[OptionalFloat, within(0, 1)] = None
    """mark with "check" what is read with less confidence, for a person to look at"""
    draw: OptionalPath = None
    """new folder for pictures of the photos with box and reading"""
    output: OutputOptions = field(default_factory=Output)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.photos:
            raise InputError(
                "no photos given; name files, a folder, a pattern, or - for standard input"
            )
        if (self.box is not None) + (self.boxes is not None) + self.whole > 1:
            raise InputError("--box, --boxes and --whole exclude each other; give one of them")


class _Ready(NamedTuple):
    """A photo of which only the crop is needed, or the whole photo, too, to draw it."""

    name: str
    cropped: "Cropped"
    photo: Image.Image | None


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.predict", __doc__ or "")
    console = output.console(options.output)
    photos = named.find(options.photos)
    boxes = _boxes(options, photos)
    _refuse_to_overwrite(options, photos)
    for path in (options.csv, options.draw):
        if path:
            files.require_writable(path)
    # Imports JAX, which takes seconds: not for --help.
    from svhn_jax.inference.finder import Finder
    from svhn_jax.inference.photo_reader import PhotoReader
    from svhn_jax.training import compilation

    compilation.enable_compilation_cache()
    finder = Finder() if None in boxes else None
    reader = PhotoReader(options.run, options.step, tta=options.tta, finder=finder)
    interrupts.raise_interrupts()  # so that no unfinished file stays
    table = GrowingTable(console, reader.max_digits, has_check=options.min_confidence is not None)
    read = doubtful = 0
    with ExitStack() as stack:
        written = (
            stack.enter_context(csv_file(options.csv, reader.max_digits)) if options.csv else None
        )
        drawer = Drawer(options.draw) if options.draw else None
        advance = stack.enter_context(output.progress("reading", len(photos), "photos"))
        for chunk in _chunks(reader, photos, boxes, advance, is_drawn=bool(drawer)):
            rows = _read(reader, chunk, options.min_confidence)
            table.add(rows)
            for one, row in zip(chunk, rows, strict=True):
                output.print_json(options.output, row.as_json())
                if written:
                    written.add(row)
                if drawer and one.photo:
                    drawer.draw(one.photo, row)
            read += len(rows)
            doubtful += sum(bool(row.is_doubtful) for row in rows)
    _print_summary(console, options, sum(not photo.problem for photo in photos), read, doubtful)
    return int(read < len(photos))


def _boxes(options: Options, photos: Sequence[Named]) -> list["AnyBox"]:
    """For each photo the number's box (left, top, width, height), "whole", or None where it is not known."""
    if options.whole:
        return ["whole"] * len(photos)
    if options.box is not None:
        if len(photos) != 1:
            raise InputError(
                f"--box is the box of one photo, and there are {len(photos)}; give --boxes, a CSV file"
            )
        values = options.box.split(",")
        try:
            if len(values) != 4 or not all(values):
                raise ValueError("it must be LEFT,TOP,WIDTH,HEIGHT, such as 120,80,260,90")
            return [tuple(labels_csv.boxes(values)[0].tolist())]
        except ValueError as error:
            raise InputError(f"--box is {printable(options.box)}: {error}") from None
    if options.boxes is not None:
        found = boxes_csv.match(options.boxes, boxes_csv.read(options.boxes), photos)
        return [
            (found[index] or "whole") if index in found else None for index in range(len(photos))
        ]
    return [None] * len(photos)


def _refuse_to_overwrite(options: Options, photos: Sequence[Named]) -> None:
    """Raises InputError if --csv or --draw would replace a photo or another file that the user may want to keep."""
    inputs = {os.path.realpath(photo.name) for photo in photos}
    if options.csv:
        target = os.path.realpath(options.csv)
        if target in inputs or (options.boxes and target == os.path.realpath(options.boxes)):
            raise InputError(f"--csv is {options.csv}, which is read; give another name")
        if os.path.lexists(options.csv) and not is_readings(options.csv):
            raise InputError(
                f"--csv is {options.csv}, which exists, and is no table of readings; give another name"
            )
    if options.draw and os.path.lexists(options.draw):
        folder = os.path.realpath(options.draw)
        if folder in {os.path.dirname(path) for path in inputs}:
            raise InputError(f"--draw is {options.draw}, the photos' own folder; give a new folder")
        if not os.path.isdir(folder) or os.listdir(folder):
            raise InputError(
                f"--draw is {options.draw}, which is no empty folder; give a new folder"
            )


def _chunks(
    reader: "PhotoReader",
    photos: Sequence[Named],
    boxes: Sequence["AnyBox"],
    advance: Callable[[int], object],
    *,
    is_drawn: bool,
) -> Iterator[list[_Ready]]:
    """The photos, decoded and cropped, a batch at a time; tells of those that cannot be read, and leaves them out."""
    chunk: list[_Ready] = []
    held = 0
    for photo, box in zip(photos, boxes, strict=True):
        try:
            image = photo_files.decode_photo(named.read(photo))
            cropped = reader.crop(image, box)
        except (ValueError, InputError) as error:
            name = (
                photo.name if len(photo.name) <= 200 else f"{photo.name[:99]}…{photo.name[-100:]}"
            )
            print_to_stderr(f"error: {printable(name)}: {error}")
            advance(1)
            continue
        chunk.append(_Ready(photo.name, cropped, image if is_drawn else None))
        held += image.width * image.height if is_drawn else 0
        if len(chunk) == reader.batch_size or held >= HELD_PIXELS:
            yield chunk
            advance(len(chunk))
            chunk, held = [], 0
    if chunk:
        yield chunk
        advance(len(chunk))


def _read(
    reader: "PhotoReader", chunk: Sequence[_Ready], min_confidence: float | None
) -> list[Row]:
    readings = reader.read_crops([one.cropped for one in chunk])
    return [
        Row(
            one.name,
            reading,
            None if min_confidence is None else reading.is_doubtful(min_confidence),
        )
        for one, reading in zip(chunk, readings, strict=True)
    ]


def _print_summary(
    console: Console, options: Options, photos: int, read: int, doubtful: int
) -> None:
    """Prints how many of the photos that were found were read, and what was written."""
    of = f"{read:,} of " if read < photos else ""
    lines = [f"{of}{photos:,} photo{'s' * (photos != 1)} read"]
    if options.min_confidence is not None:
        lines[0] += f", {doubtful:,} of them to check: confidence below {options.min_confidence:g}"
    if options.csv:
        lines.append(f"{options.csv}: {'a row for each' if read else 'no rows'}")
    if options.draw and read:
        lines.append(f"{options.draw}: a picture of each")
    console.print("\n".join(lines), soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
