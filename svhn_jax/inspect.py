"""python -m svhn_jax.inspect DIR: shows what is in a data set, prepared or raw.

Prints counts, lengths, digits by position, sizes, skipped and suspicious records. --sheet writes a
picture of some photos with their boxes. Of raw photos it reads the headers only, except those on the
sheet. --verify checks the arrays of a prepared data set against their SHA-256 and finds duplicate crops.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from svhn_jax import command_line, files, labels, output
from svhn_jax.checked import Checked, within
from svhn_jax.data import arrays, crop, photos, pictures, statistics
from svhn_jax.data.accounting import Account, skipped_lines, some_names
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import find as sources
from svhn_jax.errors import InputError, print_to_stderr, run_command
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits
from svhn_jax.options import PNG, OptionalPath, OutputOptions
from svhn_jax.output import Output

AUGMENTED_COLUMNS = 8
POSITIONS_SIDE_BY_SIDE = 7  # in 80 columns


@dataclass(frozen=True)
class Options(Checked):
    """Shows what is in a data set."""

    folder: tyro.conf.Positional[Path]
    """a prepared data set, or a folder of archives, of extracted splits, or of your own photos"""
    sheet: Annotated[OptionalPath, PNG] = None
    """PNG file to write: photos with their boxes and labels"""
    photos: Annotated[int, within(1, 1000)] = 48
    """number of photos of each split on the sheet"""
    seed: int = 0
    """seed for the choice of photos on the sheet"""
    max_digits: MaxDigits = DEFAULT_MAX_DIGITS
    """of raw photos: longer numbers are shown with a +, and counted as more; a prepared data set has its own"""
    augmented: OptionalPath = None
    """configuration file; the sheet then shows inputs of the network from a prepared data set: each row one photo, first
    as in evaluation, then as in training with random augmentation"""
    verify: bool = False
    """check every array of a prepared data set against its checksum, and find duplicate crops"""
    output: OutputOptions = field(default_factory=Output)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmented and not self.sheet:
            raise InputError("--augmented needs --sheet, the PNG file to write")


class Contents(NamedTuple):
    """One split: its numbers, what was skipped, and tiles for the sheet."""

    title: str
    names: list[str]
    targets: np.ndarray
    boxes: np.ndarray
    """float[N, 4], the number in its photo: left, top, width, height in pixels"""
    sizes: np.ndarray
    skipped: list[Skipped]
    suspicious: dict[str, np.ndarray]
    tiles: list[tuple[Image.Image, str, str]]
    """picture, number and name of each"""


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.inspect", __doc__ or "")
    console = output.console(options.output)
    if not options.folder.is_dir():
        raise InputError(
            f"{options.folder}: {'not a' if options.folder.exists() else 'no such'} folder"
        )
    is_prepared = (options.folder / arrays.MANIFEST).is_file()
    if options.augmented and not is_prepared:
        raise InputError(
            f"{options.folder}: no prepared data set; only those can be shown --augmented"
        )
    if options.verify and not is_prepared:
        raise InputError(
            f"{options.folder}: no prepared data set; only those have checksums to verify"
        )
    tiles: list[tuple[Image.Image, str, str]] = []
    result: dict[str, Any] = {"folder": str(options.folder)}
    if options.verify:
        result |= _verify(console, options.folder)
        if result["damaged"]:
            output.print_json(options.output, result)
            return 1
    result["splits"] = []
    for contents in _prepared(options) if is_prepared else _raw(options):
        _print(console, contents)
        result["splits"].append(_as_json(contents))
        tiles += contents.tiles
    if options.sheet and options.augmented:
        files.write_bytes(options.sheet, pictures.png(_augmented_sheet(options)))
        console.print(
            f"{options.sheet}: photos of the train split as {options.augmented} augments them",
            soft_wrap=True,
        )
    elif options.sheet:
        files.write_bytes(options.sheet, pictures.png(pictures.tile_sheet(tiles)))
        console.print(f"{options.sheet}: {len(tiles)} photos with their boxes", soft_wrap=True)
    output.print_json(options.output, result)
    return 0


def _prepared(options: Options) -> Iterator[Contents]:
    manifest = arrays.read_manifest(options.folder)
    for split in manifest["splits"]:
        images, targets, names, *_ = arrays.load_split(options.folder, split)
        boxes, sizes = (
            np.asarray(column) for column in arrays.load_geometry(options.folder, split)
        )
        texts = [name.decode() for name in names.tolist()]
        tiles = []
        for row in _sample(len(texts), options):
            box = _box_in_crop(
                boxes[row], sizes[row], float(manifest["crop"]["margin"]), images.shape[1]
            )
            picture = pictures.tile(Image.fromarray(np.asarray(images[row])), box)
            tiles.append((picture, _decoded(targets[row]), texts[row]))
        yield Contents(
            f"{options.folder}: {split}",
            texts,
            targets,
            boxes,
            sizes,
            [],
            statistics.suspicious(targets, boxes, sizes),
            tiles,
        )
    for split, source in manifest["sources"].items():
        if skipped := [Skipped(**entry) for entry in source["skipped"]]:
            none = np.zeros((0, 1 + manifest["max_digits"]), int)
            yield Contents(f"{source['path']} ({split})", [], none, none, none, skipped, {}, [])


def _decoded(target: np.ndarray) -> str:
    try:
        return labels.decode(target)
    except ValueError:
        return "no label"


def _box_in_crop(box: np.ndarray, size: np.ndarray, margin: float, side: int) -> np.ndarray:
    """float[n, 4]: the number's box in its crop; empty if the crop is the whole photo."""
    if box.tolist() == [0, 0, *size.tolist()]:
        return np.zeros((0, 4))
    rim = side * margin / (1 + margin) / 2
    return np.array([[rim, rim, side - 2 * rim, side - 2 * rim]])


def _raw(options: Options) -> Iterator[Contents]:
    for source in sources.find_all(options.folder):
        account = Account(source)
        chosen = {account.records[row].name for row in _sample(len(account.records), options)}
        sizes, tiles = np.zeros((len(account.records), 2), int), []
        for photo, row in account.photos():
            record, image, problem = account.records[row], None, ""
            try:
                if photo.name in chosen:
                    image = photos.decode_photo(photo.content)
                size = image.size if image else photos.photo_size(photo.content)
                if crop.is_outside(crop.number_in(record.boxes, *size), *size):
                    raise ValueError("its boxes lie outside the photo")
                sizes[row] = size
            except ValueError as error:
                problem = str(error)
                account.skip(photo.name, problem)
            if photo.name in chosen:
                boxes = record.boxes if image else record.boxes[:0]
                picture = pictures.tile(image or Image.new("RGB", (1, 1)), boxes, skipped=problem)
                number = labels.decode(labels.encode(record.digits, options.max_digits))
                tiles.append((picture, number, f"{account.name}/{record.name}"))
        yield _contents(options, account, sizes, tiles)


def _contents(
    options: Options, account: Account, sizes: np.ndarray, tiles: list[tuple[Image.Image, str, str]]
) -> Contents:
    rows = np.flatnonzero(sizes[:, 0])
    records, sizes = [account.records[row] for row in rows], sizes[rows]
    targets = labels.encode_all((record.digits for record in records), options.max_digits)
    numbers = [
        crop.number_in(record.boxes, *size)
        for record, size in zip(records, sizes.tolist(), strict=True)
    ]
    boxes = np.array([number.left_top_width_height() for number in numbers]).reshape(-1, 4)
    suspicious = statistics.suspicious(targets, boxes, sizes) | statistics.suspicious_boxes(records)
    names = [record.name for record in records]
    title = f"{options.folder}: {account.name}"
    return Contents(title, names, targets, boxes, sizes, account.skipped, suspicious, tiles)


def _sample(count: int, options: Options) -> list[int]:
    if not options.sheet:
        return []
    rng = np.random.default_rng(options.seed)
    return sorted(rng.permutation(count)[: options.photos].tolist())


def _print(console: Console, contents: Contents) -> None:
    console.print(f"\n{contents.title}", soft_wrap=True)
    if len(contents.targets):
        counts, max_digits = (
            statistics.lengths(contents.targets),
            labels.max_digits_of(contents.targets),
        )
        many = ", ".join(
            f"{count:,} of {name}"
            for name, count in zip((*map(str, range(max_digits + 1)), "more"), counts, strict=True)
            if count
        )
        console.print(f"  {len(contents.targets):,} numbers; by digits: {many}", soft_wrap=True)
        by_digit = statistics.positions(contents.targets).T
        for first in range(0, max_digits, POSITIONS_SIDE_BY_SIDE):
            shown = range(max_digits)[first : first + POSITIONS_SIDE_BY_SIDE]
            table = Table(
                "digit", *(f"position {n + 1}" if n == first else str(n + 1) for n in shown)
            )
            for digit, row in zip((*"0123456789", "none"), by_digit, strict=True):
                table.add_row(digit, *(f"{row[n]:,}" for n in shown))
            console.print(table)
        table = Table("", "min", "1 %", "median", "99 %", "max", title="sizes")
        for name, values in statistics.quantiles(contents.boxes, contents.sizes).items():
            table.add_row(
                name, *(f"{value:.2f}" if "/" in name else f"{value:.0f}" for value in values)
            )
        console.print(table)
    for line in skipped_lines(contents.skipped):
        console.print(line, soft_wrap=True)
    for reason, rows in contents.suspicious.items():
        names = some_names([contents.names[row] for row in rows])
        console.print(f"  suspicious: {len(rows):,} x {reason}: {names}", soft_wrap=True)


def _as_json(contents: Contents) -> dict[str, Any]:
    """What `_print` shows, for scripts; lengths and digits are counts, as in svhn_jax.data.statistics."""
    return {
        "title": contents.title,
        "numbers": len(contents.targets),
        "lengths": statistics.lengths(contents.targets).tolist(),
        "digits_by_position": statistics.positions(contents.targets).tolist(),
        "quantiles": statistics.quantiles(contents.boxes, contents.sizes),
        "skipped": [one._asdict() for one in contents.skipped],
        "suspicious": {
            reason: [contents.names[row] for row in rows]
            for reason, rows in contents.suspicious.items()
        },
    }


def _augmented_sheet(options: Options) -> Image.Image:
    """A sheet of the network's inputs for photos of the train split."""
    import jax  # takes a second; only this function needs it

    from svhn_jax import config_files
    from svhn_jax.model import augment, inputs
    from svhn_jax.model.randomness import random_key
    from svhn_jax.training import dataset

    config = config_files.load(str(options.augmented))
    split = dataset.load_images(str(options.folder), "train", config)
    rows = _sample(len(split.images), options)
    images = jax.numpy.asarray(split.images[rows])
    keys = jax.random.split(random_key(options.seed), (AUGMENTED_COLUMNS - 1, len(rows)))
    window = jax.jit(lambda keys: augment.random_window(images, keys, config.image, config.augment))
    columns = [inputs.center_window(images, config.image), *map(window, keys)]
    drawn = np.stack([pictures.input_pictures(np.asarray(one)) for one in columns], axis=1)
    truths = np.repeat(split.labels[rows], AUGMENTED_COLUMNS, axis=0)
    return pictures.contact_sheet(
        drawn.reshape(-1, *drawn.shape[2:]), truths, columns=AUGMENTED_COLUMNS
    )


def _verify(console: Console, folder: Path) -> dict[str, Any]:
    """Prints which arrays are damaged, or if none is, the duplicate crops; returns both."""
    manifest = arrays.read_manifest(folder)
    count = sum(len(entry["sha256"]) for entry in manifest["splits"].values())
    arrays_there = list(output.track(arrays.damaged_arrays(folder), "checksums", count, "arrays"))
    damaged = [path for path, is_damaged in arrays_there if is_damaged]
    for path in damaged:
        print_to_stderr(f"DAMAGED: {path}")
    if damaged:
        print_to_stderr(
            f"{len(damaged)} of {len(arrays_there)} arrays are damaged; delete {folder}, then preprocess again"
        )
        return {"damaged": [str(path) for path in damaged]}
    seen: dict[bytes, tuple[str, str]] = {}
    twice: list[tuple[str, str]] = []
    for split in manifest["splits"]:
        images, targets, names, *_ = arrays.load_split(folder, split)
        rows = zip(images, targets, names.tolist(), strict=True)
        for image, target, name in output.track(
            rows, f"{split}: duplicates", len(images), "photos"
        ):
            here = f"{name.decode()} in {split}", _decoded(target)
            there = seen.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), here)
            if there is not here:
                twice.append((there[0], here[0]))
                console.print(
                    f"the same crop twice: {there[0]} ({there[1]}), {here[0]} ({here[1]})",
                    soft_wrap=True,
                )
    console.print(
        f"{len(arrays_there)} arrays match their checksums; {len(twice):,} duplicate crops",
        soft_wrap=True,
    )
    return {"damaged": [], "duplicates": twice}


if __name__ == "__main__":
    run_command(main)
