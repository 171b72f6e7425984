"""python -m svhn_jax.preprocess --raw DIR --to DIR: from the published archives to 64x64 arrays.

Reads train, extra and test (those that are there), crops every number, holds out a stratified
validation split, and writes arrays that open memory-mapped beside a manifest that accounts for
every record. See svhn_jax.data.arrays for the layout.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import h5py
import numpy as np
import PIL
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import svhn_jax
from svhn_jax import labels
from svhn_jax.data import arrays, crop, digit_struct
from svhn_jax.data.photos import Photo, SplitSource, decode_photo
from svhn_jax.errors import InputError, run_command

SOURCE_SPLITS = ("train", "extra", "test")
PHOTOS_AT_ONCE = 256
OFF_PHOTO = "a box reaches past the photo's edge"
Item = TypeVar("Item")


@dataclass(frozen=True)
class Options:
    """Crops the numbers of SVHN Format 1 archives and writes memory-mapped arrays."""

    raw: Path
    """folder with train.tar.gz, test.tar.gz, extra.tar.gz, or the extracted train/, test/, extra/"""
    to: Path
    """folder for the arrays and the manifest; replaced as a whole when the new ones are complete"""
    splits: tuple[Literal["train", "extra", "test"], ...] = ()
    """which splits to read; by default those that are there"""
    margin: float = 0.3
    """how much the union of a number's boxes grows, as a share of its width and height"""
    size: int = 64
    """side of the crops in pixels"""
    validation_fraction: float = 0.05
    """share of train and of extra, for each length 1 to 5, that is held out for validation"""
    seed: int = 0
    """seed of the choice of validation photos"""
    jobs: int = os.cpu_count() or 1
    """threads that decode and crop"""

    def __post_init__(self) -> None:
        for field, is_right, rule in (
            ("margin", 0 <= self.margin <= 10, "0 to 10"),
            ("size", 8 <= self.size <= 512, "8 to 512"),
            ("validation-fraction", 0 <= self.validation_fraction < 1, "at least 0 and less than 1"),
            ("jobs", self.jobs >= 1, "at least 1"),
            ("seed", self.seed >= 0, "at least 0"),
        ):
            if not is_right:
                raise InputError(f"--{field} is {getattr(self, field.replace('-', '_'))}; it must be {rule}")


@dataclass
class Crops:
    """The crops of one source split, in the order of its records, and what became of the rest."""

    images: np.ndarray
    labels: np.ndarray
    names: list[str]
    skipped: list[dict[str, str]]
    noted: Counter[str]


def main() -> None:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, prog="python -m svhn_jax.preprocess", description=__doc__)
    splits: tuple[str, ...] = options.splits or tuple(split for split in SOURCE_SPLITS if _is_there(options.raw, split))
    if not splits:
        raise InputError(
            f"{options.raw}: none of train, test, extra in it, as NAME.tar.gz or NAME/; "
            "README.md says where to get them, or make some with python -m svhn_jax.synthesize"
        )
    sources = {split: SplitSource(options.raw, split) for split in splits}
    _refuse_other_folders(options, splits)
    settings = _settings(options, sources)
    if _is_up_to_date(options.to, settings):
        console.print(f"{options.to} is up to date: same sources, same settings", soft_wrap=True)
    else:
        with arrays.replacing_folder(options.to) as partial:
            _write(sources, options, settings, partial)
    _print_summary(console, arrays.read_manifest(options.to), options.to)


def _is_there(raw: Path, split: str) -> bool:
    return (raw / f"{split}.tar.gz").is_file() or (raw / split).is_dir()


def _settings(options: Options, sources: dict[str, SplitSource]) -> dict[str, Any]:
    """What the arrays depend on: equal settings, equal arrays."""
    return {
        "format": arrays.FORMAT,
        "crop": {"size": options.size, "margin": options.margin, "border": "edge", "filter": "bicubic"},
        "validation_fraction": options.validation_fraction,
        "seed": options.seed,
        "versions": {
            "svhn_jax": svhn_jax.__version__,
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "pillow": PIL.__version__,
        },
        "source_sha256": {split: source.fingerprint() for split, source in sources.items()},
    }


def _is_up_to_date(folder: Path, settings: dict[str, Any]) -> bool:
    try:
        manifest = arrays.read_manifest(folder)
        for split in manifest["splits"]:
            arrays.load_split(folder, split)
        return all(manifest.get(key) == value for key, value in settings.items())
    except InputError:
        return False


def _refuse_other_folders(options: Options, splits: Sequence[str]) -> None:
    """The target is replaced as a whole, so it must be a data set of ours, of the same splits, or empty, or not there."""
    folder, raw = options.to.resolve(), options.raw.resolve()
    if folder == raw or folder in raw.parents or (raw in folder.parents and raw / folder.name == folder):
        raise InputError(f"{options.to}: is, holds or lies in the folder of the photos; give another --to")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{options.to}: a file stands there; give a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    ours = {arrays.MANIFEST} | {
        f"{split}/{name}.npy" for split in arrays.SPLITS for name in ("images", "labels", "names")
    }
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    if arrays.MANIFEST not in files or not files <= ours or len(files) == 1:
        raise InputError(f"{options.to}: holds other things than a prepared data set; give a new or an empty folder")
    try:
        sources = arrays.read_manifest(folder).get("source_sha256", {})
    except InputError:
        return  # a damaged set of ours: made anew
    if lost := sorted(set(sources) - set(splits)):
        raise InputError(
            f"{options.to}: was made from {', '.join(lost)} too, which this would lose; "
            "read those again, or give another --to"
        )


def _write(sources: dict[str, SplitSource], options: Options, settings: dict[str, Any], folder: Path) -> None:
    """Crops all sources and writes the splits and the manifest into `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        crops = {split: _crop_split(source, options, Path(work)) for split, source in sources.items()}
        entries: dict[str, Any] = {}
        if training := [split for split in ("train", "extra") if split in crops]:
            held_out = {split: _choose_validation(crops[split].labels[:, 0], split, options) for split in training}
            images = _concatenate([crops[split].images for split in training], Path(work) / "all")
            targets = np.concatenate([crops[split].labels for split in training])
            names = [f"{split}/{name}" for split in training for name in crops[split].names]
            is_held_out = np.concatenate([held_out[split] for split in training])
            for name, rows in (("train", np.flatnonzero(~is_held_out)), ("validation", np.flatnonzero(is_held_out))):
                entries[name] = arrays.write_split(folder / name, images, targets, names, rows)
        if "test" in crops:
            test = crops["test"]
            names = [f"test/{name}" for name in test.names]
            entries["test"] = arrays.write_split(
                folder / "test", test.images, test.labels, names, np.arange(len(names))
            )
    records = {
        split: {
            "path": source.path.name,
            "kept": len(crops[split].names),
            "skipped": crops[split].skipped,
            "noted": dict(sorted(crops[split].noted.items())),
        }
        for split, source in sources.items()
    }
    manifest = settings | {"splits": entries, "sources": records}
    (folder / arrays.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def _concatenate(parts: list[np.ndarray], path: Path) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    whole = np.memmap(path, np.uint8, "w+", shape=shape)
    np.concatenate(parts, out=whole)
    return whole


def _choose_validation(lengths: np.ndarray, split: str, options: Options) -> np.ndarray:
    """bool[N]: of each length 1 to 5, the given share rounded down, drawn by (seed, split, length).

    At 5 % of train and extra this holds out 11,782 numbers, as the seed project did.
    """
    chosen = np.zeros(len(lengths), bool)
    for length in range(1, labels.MAX_DIGITS + 1):
        rows = np.flatnonzero(lengths == length)
        rng = np.random.default_rng([options.seed, SOURCE_SPLITS.index(split), length])
        share = int(len(rows) * options.validation_fraction + 1e-9)  # 100 x 0.29 is 28.999...
        chosen[rng.permutation(rows)[:share]] = True
    return chosen


def _crop_split(source: SplitSource, options: Options, work: Path) -> Crops:
    """Crops every photo of a split that has a usable record; the others are named in `skipped`."""
    records: dict[str, digit_struct.Record] = {}
    skipped: list[dict[str, str]] = []
    noted: Counter[str] = Counter()
    unusable: set[str] = set()
    for record in source.records():
        if isinstance(record, digit_struct.BadRecord):
            skipped.append({"name": record.name, "reason": record.reason})
            if record.name not in records:
                unusable.add(record.name)
        elif record.name in records:
            skipped.append({"name": record.name, "reason": "a second record of that name"})
        else:
            records[record.name] = record
    rows = {name: row for row, name in enumerate(records)}
    images = np.memmap(work / source.split, np.uint8, "w+", shape=(max(1, len(rows)), options.size, options.size, 3))
    done = np.zeros(len(rows), bool)
    seen: set[str] = set()

    def crop_photo(photo: Photo) -> tuple[Photo, np.ndarray | None, str]:
        if photo.problem:
            return photo, None, photo.problem
        if photo.name not in records:
            return photo, None, "no record of that name in digitStruct.mat"
        record = records[photo.name]
        try:
            pixels = decode_photo(photo.content)
            image = crop.crop_number(pixels, record.boxes, margin=options.margin, size=options.size)
            return photo, image, OFF_PHOTO if crop.is_off_photo(pixels.shape, record.boxes) else ""
        except ValueError as error:
            return photo, None, str(error)

    progress = track(source.photos(), description=f"{source.split}: photos", total=len(rows), transient=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for block in _blocks((photo for photo in progress if photo.name not in unusable), PHOTOS_AT_ONCE):
            for photo, image, remark in pool.map(crop_photo, block):
                if photo.name in seen:
                    skipped.append({"name": photo.name, "reason": "a second photo of that name"})
                elif image is None:
                    skipped.append({"name": photo.name, "reason": remark})
                else:
                    row = rows[photo.name]
                    images[row], done[row] = image, True
                    noted[OFF_PHOTO] += remark == OFF_PHOTO
                seen.add(photo.name)
    skipped += [{"name": name, "reason": "no such photo"} for name in records if name not in seen]
    if skipped and not done.any():
        first = skipped[0]
        raise InputError(
            f"{source.path}: none of its photos can be used; the first, {first['name']}: {first['reason']}"
        )
    return _kept(records, images, done, skipped, noted)


def _kept(
    records: dict[str, digit_struct.Record],
    images: np.ndarray,
    done: np.ndarray,
    skipped: list[dict[str, str]],
    noted: Counter[str],
) -> Crops:
    """The rows that are done, moved up to close the gaps, with their labels."""
    rows = np.flatnonzero(done)
    for target, row in enumerate(rows):
        if target != row:
            images[target] = images[row]
    all_records = list(records.values())
    kept = [all_records[row] for row in rows]
    targets = np.array([labels.encode(record.digits) for record in kept], np.int32).reshape(-1, 6)
    noted["a number of more than five digits"] = sum(len(record.digits) > labels.MAX_DIGITS for record in kept)
    noted["a box starts left of or above the photo"] = sum(bool((record.boxes[:, :2] < 0).any()) for record in kept)
    return Crops(images[: len(rows)], targets, [record.name for record in kept], skipped, noted)


def _blocks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block


def _print_summary(console: Console, manifest: dict[str, Any], folder: Path) -> None:
    table = Table(title=f"{folder}: {manifest['crop']['size']} x {manifest['crop']['size']} uint8 crops")
    for column in ("split", "numbers", "1 digit", *"2345", "more"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, entry in manifest["splits"].items():
        lengths = (entry["lengths"].get(str(length), 0) for length in range(1, 7))
        table.add_row(split, f"{entry['examples']:,}", *(f"{count:,}" for count in lengths))
    console.print(table)
    for split, source in manifest["sources"].items():
        console.print(f"{split}: {source['kept']:,} kept, {len(source['skipped']):,} skipped")
        for reason, count in Counter(entry["reason"] for entry in source["skipped"]).most_common(10):
            console.print(f"  skipped: {count:,} x {reason}")
        for note, count in source["noted"].items():
            if count:
                console.print(f"  kept, with a note: {count:,} x {note}")


if __name__ == "__main__":
    run_command(main)
