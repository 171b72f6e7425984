"""python -m svhn_jax.inspect DIR: shows what is in a data set, prepared or raw.

Prints counts, lengths, digits by position, sizes, skipped and suspicious records. --sheet writes a
picture of some photos with their boxes. Of raw photos it reads the headers only, except those on
the sheet. --verify checks the arrays of a prepared data set against their SHA-256.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

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

Tile = tuple[Image.Image, str, str]  # a picture, its number and its name
Summary = dict[str, Any]  # see `_summary`


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
    """of raw photos: longer numbers are shown with a + and counted as more"""
    verify: bool = False
    """check every array of a prepared data set against its checksum"""


def main(options: Options, terminal: Terminal) -> int:
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder; give a data set")
    is_prepared = (options.folder / arrays.MANIFEST).is_file()
    result: dict[str, Any] = {"folder": str(options.folder), "splits": []}
    if options.verify:
        if not is_prepared:
            raise InputError(f"{options.folder}: no prepared data set; only those have checksums")
        damaged = [path for path, is_bad in arrays.damaged_arrays(options.folder) if is_bad]
        result["damaged"] = [str(path) for path in damaged]
        terminal.error(*(f"DAMAGED: {path}" for path in damaged))
        if damaged:
            terminal.error(f"delete {options.folder}, then preprocess again")
            terminal.result(result)
            return 1
        terminal.print("every array matches its checksum")
    tiles: list[Tile] = []
    for split, more in _prepared(options) if is_prepared else _raw(options, terminal):
        _print(terminal, split)
        result["splits"].append(split)
        tiles += more
    if options.sheet:
        files.write_bytes(options.sheet, pictures.png(pictures.tile_sheet(tiles)))
        terminal.print(f"{options.sheet}: {len(tiles)} photos with their boxes")
    terminal.result(result)
    return 0


def _prepared(options: Options) -> Iterator[tuple[Summary, list[Tile]]]:
    manifest = arrays.read_manifest(options.folder)
    margin = manifest["crop"]["margin"]
    for split in manifest["splits"]:
        images, targets, names, *_ = arrays.load_split(options.folder, split)
        boxes, sizes = map(np.asarray, arrays.load_geometry(options.folder, split))
        texts = [name.decode() for name in names.tolist()]
        tiles = []
        for row in _sample(len(texts), options):
            side = images.shape[1]
            rim, is_whole = side * margin / (1 + margin) / 2, [*boxes[row]] == [0, 0, *sizes[row]]
            box = np.array([[rim, rim, side - 2 * rim, side - 2 * rim]])[is_whole:]
            picture = pictures.tile(Image.fromarray(np.asarray(images[row])), box)
            tiles.append((picture, labels.decode(targets[row]), texts[row]))
        suspicious = statistics.suspicious(targets, boxes, sizes)
        title = f"{options.folder}: {split}"
        yield _summary(title, texts, targets, boxes, sizes, [], suspicious), tiles
    for split, source in manifest["sources"].items():
        if skipped := [Skipped(**entry) for entry in source["skipped"]]:
            none = np.zeros((0, 1 + manifest["max_digits"]), int)
            yield _summary(f"{source['path']} ({split})", [], none, none, none, skipped, {}), []


def _raw(options: Options, terminal: Terminal) -> Iterator[tuple[Summary, list[Tile]]]:
    for source in sources.find_all(options.folder):
        account = Account(source)
        chosen = set(_sample(len(account.records), options))
        sizes, tiles = np.zeros((len(account.records), 2), int), []
        with terminal.progress(f"{account.name}: photos", len(sizes), "photos") as advance:
            for photo, row in account.photos():
                record, problem, image = account.records[row], "", None
                try:
                    if row in chosen:
                        image = photos.decode_photo(photo.content)
                    size = image.size if image else photos.photo_size(photo.content)
                    if crop.is_outside(crop.number_in(record.boxes, *size), *size):
                        raise ValueError("its boxes lie outside the photo")
                    sizes[row] = size
                except ValueError as error:
                    problem = str(error)
                    account.skip(photo.name, problem)
                if row in chosen:
                    boxes = record.boxes if image else record.boxes[:0]
                    picture = pictures.tile(
                        image or Image.new("RGB", (1, 1)), boxes, skipped=problem
                    )
                    number = labels.decode(labels.encode(record.digits, options.max_digits))
                    tiles.append((picture, number, f"{account.name}/{record.name}"))
                advance(1)
        yield _summary_of(options, account, sizes), tiles


def _summary_of(options: Options, account: Account, sizes: np.ndarray) -> Summary:
    """The summary of raw photos; sizes: int[N, 2], 0 for photos that cannot be used."""
    rows = np.flatnonzero(sizes[:, 0])
    records, sizes = [account.records[row] for row in rows], sizes[rows]
    targets = labels.encode_all((record.digits for record in records), options.max_digits)
    boxes = np.zeros((len(rows), 4))
    for row, (record, size) in enumerate(zip(records, sizes.tolist(), strict=True)):
        boxes[row] = crop.number_in(record.boxes, *size).left_top_width_height()
    suspicious = statistics.suspicious(targets, boxes, sizes) | statistics.suspicious_boxes(records)
    names, title = [record.name for record in records], f"{options.folder}: {account.name}"
    return _summary(title, names, targets, boxes, sizes, account.skipped, suspicious)


def _sample(count: int, options: Options) -> list[int]:
    rng = np.random.default_rng(options.seed)
    return sorted(rng.permutation(count)[: options.photos].tolist()) if options.sheet else []


def _summary(
    title: str,
    names: Sequence[str],
    targets: np.ndarray,
    boxes: np.ndarray,
    sizes: np.ndarray,
    skipped: Sequence[Skipped],
    suspicious: Mapping[str, np.ndarray],
) -> Summary:
    """What is printed of a split, as JSON values; see `svhn_jax.data.statistics`."""
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
