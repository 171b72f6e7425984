"""python -m svhn_jax.inspect DIR: shows what is in a data set, prepared or raw.

Prints counts, lengths, digits by position, sizes, skipped and suspicious records. --sheet writes a
picture of some photos with their boxes. Of raw photos it reads the headers only, except those on
the sheet. --verify checks the arrays of a prepared data set against their SHA-256.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from PIL import Image
from rich.table import Table

from svhn_jax import cli, files, labels
from svhn_jax.checked import Checked, within
from svhn_jax.cli import PNG, OptionalPath
from svhn_jax.data import arrays, crop, photos, pictures, statistics
from svhn_jax.data.accounting import Account, skipped_lines, some_names
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import find as sources
from svhn_jax.errors import InputError
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits
from svhn_jax.output import Terminal

Summary = dict[str, Any]


@dataclass(frozen=True)
class Options(Checked):
    """Shows what is in a data set."""

    folder: tyro.conf.Positional[Path]
    """a prepared data set, or a folder of archives, of extracted splits, or of your own photos"""
    sheet: Annotated[OptionalPath, PNG] = None
    """PNG file to write: photos with their boxes and labels"""
    photos: Annotated[int, within(1, 1000)] = 48
    """number of photos of each split on the sheet"""
    max_digits: MaxDigits = DEFAULT_MAX_DIGITS
    """of raw photos: longer numbers are shown with a + and counted as more"""
    verify: bool = False
    """check every array of a prepared data set against its checksum"""


class Contents(NamedTuple):
    """One split; boxes: float[N, 4], the number in its photo; tiles: picture, number and name."""

    title: str
    names: list[str]
    targets: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray
    skipped: list[Skipped]
    tiles: list[tuple[Image.Image, str, str]]


def main(options: Options, terminal: Terminal) -> int:
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder; give a data set")
    is_prepared = (options.folder / arrays.MANIFEST).is_file()
    summaries: list[Summary] = []
    result: dict[str, Any] = {"folder": str(options.folder), "splits": summaries}
    if options.verify:
        if not is_prepared:
            raise InputError(f"{options.folder}: no prepared data set; only those have checksums")
        damaged = [path for path, is_bad in arrays.damaged_arrays(options.folder) if is_bad]
        result["damaged"] = [str(path) for path in damaged]
        if damaged:
            terminal.error(*(f"DAMAGED: {path}" for path in damaged))
            terminal.error(f"delete {options.folder}, then preprocess again")
            terminal.result(result)
            return 1
        terminal.print("every array matches its checksum")
    tiles: list[tuple[Image.Image, str, str]] = []
    for contents in _prepared(options) if is_prepared else _raw(options, terminal):
        summaries.append(_summary(contents))
        _print(terminal, summaries[-1])
        tiles += contents.tiles
    if options.sheet:
        files.write_bytes(options.sheet, pictures.png(pictures.tile_sheet(tiles)))
        terminal.print(f"{options.sheet}: {len(tiles)} photos with their boxes")
    terminal.result(result)
    return 0


def _prepared(options: Options) -> Iterator[Contents]:
    manifest = arrays.read_manifest(options.folder)
    margin, side = manifest["crop"]["margin"], manifest["crop"]["size"]
    rim = side * margin / (1 + margin) / 2
    inside = np.array([[rim, rim, side - 2 * rim, side - 2 * rim]])
    for split in manifest["splits"]:
        images, targets, codes, *_ = arrays.load_split(options.folder, split)
        boxes, sizes = map(np.asarray, arrays.load_geometry(options.folder, split))
        names, tiles = [code.decode() for code in codes.tolist()], []
        for row in _sample(len(names), options):
            is_whole = [*boxes[row]] == [0, 0, *sizes[row]]  # then it is not enlarged
            picture = pictures.tile(Image.fromarray(np.asarray(images[row])), inside[is_whole:])
            tiles.append((picture, labels.decode(targets[row]), names[row]))
        yield Contents(f"{options.folder}: {split}", names, targets, boxes, sizes, [], tiles)
    none = np.zeros((0, 1 + manifest["max_digits"]), int)
    for split, source in manifest["sources"].items():
        if skipped := [Skipped(**entry) for entry in source["skipped"]]:
            yield Contents(f"{source['path']} ({split})", [], none, none, none, skipped, [])


def _raw(options: Options, terminal: Terminal) -> Iterator[Contents]:
    for source in sources.find_all(options.folder):
        account = Account(source)
        records, chosen = account.records, set(_sample(len(account.records), options))
        targets = labels.encode_all((record.digits for record in records), options.max_digits)
        sizes, boxes, tiles = np.zeros((len(records), 2), int), np.zeros((len(records), 4)), []
        with terminal.progress(f"{account.name}: photos", len(records), "photos") as advance:
            for photo, row in account.photos():
                record, problem, image = records[row], "", Image.new("RGB", (1, 1))
                try:
                    if row in chosen:
                        image = photos.decode_photo(photo.content)
                    size = image.size if row in chosen else photos.photo_size(photo.content)
                    number = crop.number_in(record.boxes, *size)
                    if crop.is_outside(number, *size):
                        raise ValueError("its boxes lie outside the photo")
                    sizes[row], boxes[row] = size, number.left_top_width_height()
                except ValueError as error:
                    problem = str(error)
                    account.skip(photo.name, problem)
                if row in chosen:
                    picture = pictures.tile(image, record.boxes, skipped=problem)
                    name = f"{account.name}/{record.name}"
                    tiles.append((picture, labels.decode(targets[row]), name))
                advance(1)
        title, used = f"{options.folder}: {account.name}", np.flatnonzero(sizes[:, 0])
        names = [records[row].name for row in used]
        skipped = account.skipped
        yield Contents(title, names, targets[used], boxes[used], sizes[used], skipped, tiles)


def _sample(count: int, options: Options) -> list[int]:
    rows = np.random.default_rng(0).permutation(count)[: options.photos]
    return sorted(rows.tolist()) if options.sheet else []


def _summary(contents: Contents) -> Summary:
    """What is printed of a split, as JSON values; see `svhn_jax.data.statistics`."""
    title, names, targets, boxes, sizes, skipped, _ = contents
    suspicious = statistics.suspicious(targets, boxes, sizes)
    return {
        "title": title,
        "numbers": len(targets),
        "lengths": statistics.lengths(targets).tolist(),
        "digits_by_position": statistics.positions(targets).tolist(),
        "quantiles": statistics.quantiles(boxes, sizes),
        "skipped": [one._asdict() for one in skipped],
        "suspicious": {why: [names[row] for row in rows] for why, rows in suspicious.items()},
    }


def _print(terminal: Terminal, split: Summary) -> None:
    terminal.print(f"\n{split['title']}")
    if split["numbers"]:
        names = (*map(str, range(len(split["lengths"]) - 1)), "more")
        counts = zip(names, split["lengths"], strict=True)
        many = ", ".join(f"{count:,} of {name}" for name, count in counts if count)
        terminal.print(f"  {split['numbers']:,} numbers; by digits: {many}")
        table = Table("position", *"0123456789", "none", box=None)
        for position, row in enumerate(split["digits_by_position"], 1):
            table.add_row(str(position), *map(str, row))
        sizes = Table("", "min", "1 %", "median", "99 %", "max", box=None)
        for name, values in split["quantiles"].items():
            sizes.add_row(name, *(f"{value:.{2 if '/' in name else 0}f}" for value in values))
        terminal.print(table, sizes)
    for line in skipped_lines([Skipped(**one) for one in split["skipped"]]):
        terminal.print(line)
    for reason, found in split["suspicious"].items():
        terminal.print(f"  suspicious: {len(found):,} x {reason}: {some_names(found)}")


if __name__ == "__main__":
    cli.run(Options, main)
