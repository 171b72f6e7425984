"""python -m svhn_jax.preprocess --raw DIR --to DIR: crops the numbers of the photos to 64x64 arrays.

Reads train, extra and test, or those of them that exist, crops every number, holds out a stratified
validation split, and writes memory-mapped arrays and a manifest that names every skipped record.
A killed command can be resumed: run it again. svhn_jax.data.arrays describes the layout,
svhn_jax.data.sources.labels_csv the labels of your own photos.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
import PIL
from rich.console import Console
from rich.table import Table

import svhn_jax
from svhn_jax import command_line, output
from svhn_jax.checked import Checked, Fraction, at_least, within
from svhn_jax.data import arrays, writing
from svhn_jax.data.accounting import skipped_lines
from svhn_jax.data.crop import CropRule
from svhn_jax.data.prepare import build
from svhn_jax.data.prepare.assign import plan
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import find as sources
from svhn_jax.data.sources import tfds as tfds_source
from svhn_jax.data.sources.find import Source
from svhn_jax.data.workers import usable_cores
from svhn_jax.errors import InputError, run_command
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits
from svhn_jax.options import OptionalInt, OutputOptions, Splits
from svhn_jax.output import Output


@dataclass(frozen=True)
class Options(Checked):
    """Crops the numbers of SVHN Format 1 archives, or of photos of your own, and writes memory-mapped arrays."""

    raw: Path
    """folder with train.tar.gz, test.tar.gz and extra.tar.gz, or with the extracted train/, test/ and extra/; or a folder
    of your own photos with labels.csv, or with train/ and test/ that have one each (boxes in pixels of the upright
    photo, after EXIF orientation); for the sources tfds and svhn_cropped, TFDS's data folder"""
    to: Path
    """folder for the arrays and the manifest; an existing data set is replaced when the new one is complete"""
    source: Literal["files", "tfds", "svhn_cropped"] = "files"
    """files: archives or folders; tfds: svhn_full as prepared with TensorFlow Datasets; svhn_cropped: the single digits of TFDS"""
    splits: Splits = ()
    """the splits to read"""
    limit: Annotated[OptionalInt, at_least(1)] = None
    """read only the first so many numbers of each split, for a quick look"""
    margin: Annotated[float, within(0, 10)] = 0.3
    """how much the box of a number is enlarged, as a share of its width and height"""
    size: Annotated[int, within(8, 512)] = 64
    """side of the crops in pixels"""
    max_digits: MaxDigits = DEFAULT_MAX_DIGITS
    """the most digits of a number that its label holds; of a longer one it holds the first ones, and that there are more. A run on
    these data needs the same model.max_digits"""
    validation_fraction: Fraction = 0.05
    """share of train and of extra, for each length 1 to max_digits, that is held out for validation; at least one number is held
    out, unless the share is 0 or there is only one number"""
    seed: Annotated[int, at_least(0)] = 0
    """seed for the choice of validation photos"""
    skip_bad: bool = False
    """skip the rows of your labels.csv that cannot be used, and name them in the manifest; by default the command lists
    them and writes nothing. Bad records of the published archives are always skipped and named"""
    jobs: Annotated[int, at_least(1)] = field(default_factory=usable_cores)
    """number of processes that decode and crop; the arrays do not depend on it"""
    output: OutputOptions = field(default_factory=Output)


def main() -> None:
    options = command_line.parse(Options, "python -m svhn_jax.preprocess", __doc__ or "")
    console = output.console(options.output)
    found = _find_sources(options)
    _refuse_other_folders(options, [source.split for source in found])
    if _is_up_to_date(options, found):
        writing.remove_replaced(options.to)
        console.print(f"{options.to} is up to date: same sources, same settings", soft_wrap=True)
    else:
        with writing.building(options.to) as partial:
            stamps = {source.split: source.stamp() for source in found}  # before anything is read
            fingerprints = {source.split: source.fingerprint() for source in found}
            settings = _settings(options) | {"source_sha256": fingerprints}
            console.print(
                f"building {options.to} (if interrupted, run the same command again to resume)",
                soft_wrap=True,
            )
            manifest = _build(options, partial, found, settings, stamps)
            if _has_lost_validation(options, manifest):
                console.print(
                    "none of the photos held out for validation can be used; holding out others"
                )
                unusable = {
                    split: sorted({one["name"] for one in source["skipped"]})
                    for split, source in manifest["sources"].items()
                }
                _build(options, partial, found, settings | {"not_held_out": unusable}, stamps)
    manifest = arrays.read_manifest(options.to)
    _print_summary(console, manifest, options.to)
    output.print_json(options.output, {"to": str(options.to)} | manifest)


def _build(
    options: Options,
    folder: Path,
    found: Sequence[Source],
    settings: dict[str, Any],
    stamps: dict[str, str],
) -> dict[str, Any]:
    parts = plan(
        found,
        validation_fraction=options.validation_fraction,
        seed=options.seed,
        limit=options.limit,
        max_digits=options.max_digits,
        not_held_out=settings.get("not_held_out", {}),
    )
    return build.build(
        folder, parts, settings, stamps, jobs=options.jobs, skip_bad=options.skip_bad
    )


def _has_lost_validation(options: Options, manifest: dict[str, Any]) -> bool:
    """Whether the validation split is empty only because the photos chosen for it cannot be used."""
    splits = manifest["splits"]
    if (
        not options.validation_fraction
        or "validation" not in splits
        or splits["validation"]["examples"]
    ):
        return False
    return splits["train"]["examples"] >= 2 and any(
        str(n) in splits["train"]["lengths"] for n in range(1, options.max_digits + 1)
    )


def _find_sources(options: Options) -> list[Source]:
    """The sources to read, in the order of SOURCE_SPLITS."""
    if options.source == "files":
        return sources.find_all(options.raw, options.splits)
    kind = tfds_source.TfdsSource if options.source == "tfds" else tfds_source.CroppedDigits
    return [*tfds_source.find_all(kind, options.raw, options.splits)]


def _settings(options: Options) -> dict[str, Any]:
    """Everything that the arrays depend on, except the sources."""
    return {
        "format": arrays.FORMAT,
        "crop": asdict(CropRule(options.size, options.margin)),
        "max_digits": options.max_digits,
        "validation_fraction": options.validation_fraction,
        "seed": options.seed,
        "limit": options.limit,
        "versions": {
            "svhn_jax": svhn_jax.__version__,
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "pillow": PIL.__version__,
        },
    }


def _is_up_to_date(options: Options, found: Sequence[Source]) -> bool:
    """Whether the data set has these settings and sources. A source is read again only if its files have changed."""
    if not arrays.is_sound(options.to, _settings(options)):
        return False
    try:
        manifest = arrays.read_manifest(options.to)
        if manifest["sources"].keys() != {source.split for source in found}:
            return False
        if not options.skip_bad and any(
            "line" in one for source in manifest["sources"].values() for one in source["skipped"]
        ):
            return False
        return all(
            manifest["sources"][source.split]["stamp"] == source.stamp()
            or manifest["source_sha256"][source.split] == source.fingerprint()
            for source in found
        )
    except (InputError, KeyError, TypeError, AttributeError):
        return False


def _refuse_other_folders(options: Options, splits: Sequence[str]) -> None:
    """Raises InputError if the target, which will be replaced, holds other files, or a data set of more splits."""
    folder, raw = options.to.resolve(), options.raw.resolve()
    if folder == raw or folder in raw.parents or raw in folder.parents:
        raise InputError(f"{options.to}: overlaps the folder of the photos; give another --to")
    ours, others = writing.files_in(options.to)
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not others and arrays.MANIFEST not in ours:
        raise InputError(
            f"{options.to}: holds arrays but no {arrays.MANIFEST}; delete that folder, then preprocess again"
        )
    if others or len(ours) == 1:
        raise InputError(
            f"{options.to}: holds other files than a prepared data set; give a new or an empty folder"
        )
    try:
        manifest = arrays.read_manifest(folder)
    except InputError:
        return  # damaged, or of an older version: replace it
    made_from = manifest.get("source_sha256", {})
    if not isinstance(made_from, dict):
        return
    if options.limit and not manifest.get("limit"):
        raise InputError(
            f"{options.to}: holds more numbers than --limit {options.limit}; give another --to"
        )
    if lost := sorted(set(made_from) - set(splits)):
        raise InputError(
            f"{options.to}: also holds {', '.join(lost)}, which this command would delete; "
            "read those splits too, or give another --to"
        )


def _print_summary(console: Console, manifest: dict[str, Any], folder: Path) -> None:
    table = Table(
        title=f"{folder}: {manifest['crop']['size']} x {manifest['crop']['size']} uint8 crops"
    )
    max_digits, splits = manifest["max_digits"], manifest["splits"]
    lengths = [
        n
        for n in range(1, max_digits + 2)
        if any(str(n) in entry["lengths"] for entry in splits.values())
    ]
    names = [str(n) if n <= max_digits else "more" for n in lengths]
    if lengths and lengths[0] <= max_digits:
        names[0] += " digit" if lengths[0] == 1 else " digits"
    for column in ("split", "numbers", *names):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, entry in splits.items():
        counts = (entry["lengths"].get(str(length), 0) for length in lengths)
        table.add_row(split, f"{entry['examples']:,}", *(f"{count:,}" for count in counts))
    console.print(table)
    if manifest["splits"].get("validation", {"examples": 1})["examples"] == 0:
        console.print(
            "warning: the validation split is empty, and training needs one; "
            "give at least two photos that can be used, and a --validation-fraction above 0",
            soft_wrap=True,
        )
    for split, source in manifest["sources"].items():
        console.print(f"{split}: {source['kept']:,} kept, {len(source['skipped']):,} skipped")
        for line in skipped_lines(
            (Skipped(**entry) for entry in source["skipped"]), rest_in=arrays.MANIFEST
        ):
            console.print(line, soft_wrap=True)
        for note, count in source["noted"].items():
            if count:
                console.print(f"  kept, with a note: {count:,} x {note}")


if __name__ == "__main__":
    interrupts.raise_interrupts()
    run_command(main)
