"""python -m svhn_jax.inspect DIR: shows what is in a data set, prepared or raw.

Prints counts, lengths, digits by position, sizes, skipped and suspicious records. --sheet writes a
picture of some photos. Of raw photos it reads the headers only, except those on the sheet. --verify
checks the arrays of a prepared data set against their SHA-256.
"""

from collections.abc import Iterator
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

Summary = dict[str, Any]
Tiles = list[tuple[Image.Image, str, pictures.Color]]


@dataclass(frozen=True)
class Options(Checked):
    """Shows what is in a data set."""

    folder: tyro.conf.Positional[Path]
    """a prepared data set, or a folder of archives, of extracted splits, or of your own photos"""
    sheet: Annotated[OptionalPath, PNG] = None
    """PNG file to write: photos with their boxes and labels, or crops with their labels"""
    photos: Annotated[int, within(1, 1000)] = 48
    """number of photos of each split on the sheet"""
    max_digits: MaxDigits = DEFAULT_MAX_DIGITS
    """of raw photos: longer numbers are shown with a + and counted as more"""
    verify: bool = False
    """check every array of a prepared data set against its checksum"""


def main(options: Options, terminal: Terminal) -> int:
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder; give a data set")
    if options.verify:
        return _verify(options.folder, terminal)
    is_prepared = (options.folder / arrays.MANIFEST).is_file()
    summaries: list[Summary] = []
    all_tiles: Tiles = []
    for summary, tiles in _prepared(options) if is_prepared else _raw(options, terminal):
        _print(terminal, summary)
        summaries.append(summary)
        all_tiles += tiles
    if options.sheet:
        files.write_bytes(options.sheet, pictures.png(pictures.sheet(all_tiles)))
        terminal.print(f"{options.sheet}: {len(all_tiles)} photos")
    terminal.result({"folder": str(options.folder), "splits": summaries})
    return 0


def _verify(folder: Path, terminal: Terminal) -> int:
    damaged = [str(path) for path, is_bad in arrays.damaged_arrays(folder) if is_bad]
    if damaged:
        terminal.error(*(f"DAMAGED: {path}" for path in damaged))
        terminal.error(f"delete {folder}, then preprocess again")
    else:
        terminal.print("every array matches its checksum")
    terminal.result({"folder": str(folder), "damaged": damaged})
    return int(bool(damaged))


def _prepared(options: Options) -> Iterator[tuple[Summary, Tiles]]:
    manifest = arrays.read_manifest(options.folder)
    for split in manifest["splits"]:
        images, targets, codes, *_ = arrays.load_split(options.folder, split)
        geometry = arrays.load_geometry(options.folder, split)
        names, tiles = [code.decode() for code in codes.tolist()], Tiles()
        for row in _sample(len(names), options):
            picture = pictures.framed(Image.fromarray(np.asarray(images[row])))
            tiles.append((picture, _caption(targets[row], names[row]), pictures.TEXT))
        title = f"{options.folder}: {split}"
        yield statistics.summary(title, names, targets, *geometry), tiles
    none = np.zeros((0, 1 + manifest["max_digits"]), int)
    for split, source in manifest["sources"].items():
        if skipped := [Skipped(**entry) for entry in source["skipped"]]:
            title = f"{source['path']} ({split})"
            yield statistics.summary(title, [], none, none, none, skipped), []


def _raw(options: Options, terminal: Terminal) -> Iterator[tuple[Summary, Tiles]]:
    for source in sources.find_all(options.folder):
        account = Account(source)
        records, chosen = account.records, set(_sample(len(account.records), options))
        targets = labels.encode_all((record.digits for record in records), options.max_digits)
        sizes, boxes, tiles = np.zeros((len(records), 2), int), np.zeros((len(records), 4)), Tiles()
        with terminal.progress(f"{account.name}: photos", len(records), "photos") as advance:
            for photo, row in account.photos():
                advance(1)
                try:
                    size = photos.photo_size(photo.content)
                    number = crop.number_in(records[row].boxes, *size)
                    if crop.is_outside(number, *size):
                        raise ValueError("its boxes lie outside the photo")
                    if row in chosen:
                        picture = pictures.framed(photos.decode_photo(photo.content), number)
                        tiles.append((picture, _caption(targets[row], photo.name), pictures.TEXT))
                    sizes[row], boxes[row] = size, number.left_top_width_height()
                except ValueError as error:
                    account.skip(photo.name, str(error))
        title, used = f"{options.folder}: {account.name}", np.flatnonzero(sizes[:, 0])
        names = [records[row].name for row in used]
        shown = targets[used], boxes[used], sizes[used]
        yield statistics.summary(title, names, *shown, account.skipped), tiles


def _sample(count: int, options: Options) -> list[int]:
    rows = np.random.default_rng(0).permutation(count)[: options.photos]
    return sorted(rows.tolist()) if options.sheet else []


def _caption(label: np.ndarray, name: str) -> str:
    return f"{labels.decode(label)}  {pictures.short(name)}"


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
