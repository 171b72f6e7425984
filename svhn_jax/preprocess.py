"""python -m svhn_jax.preprocess --raw DIR --to DIR: crops the numbers of the photos to 64x64
arrays.

Reads train, extra and test, or those of them that exist, crops every number, holds out a
stratified validation split, and writes memory-mapped arrays and a manifest that names every
skipped record. svhn_jax.data.arrays describes the layout, svhn_jax.data.sources.labels_csv the
labels of your own photos.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from svhn_jax import cli, labels
from svhn_jax.checked import Checked, Fraction, at_least, within
from svhn_jax.cli import Splits
from svhn_jax.data import arrays, preparing, writing
from svhn_jax.data.crop import CropRule
from svhn_jax.data.sources import find, tfds
from svhn_jax.data.workers import usable_cores
from svhn_jax.errors import InputError
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits
from svhn_jax.output import Terminal

REASONS_SHOWN = 10
FEW = 20  # photos of a validation split


@dataclass(frozen=True)
class Options(Checked):
    """Crops the numbers of SVHN Format 1 archives, or of your own photos, to arrays."""

    raw: Path
    """folder with train.tar.gz, test.tar.gz and extra.tar.gz, or with the extracted train/,
    test/ and extra/; or a folder of your own photos with labels.csv, or with train/ and test/
    that have one each (boxes in pixels of the upright photo, after EXIF orientation); with
    --source tfds, TFDS's data folder"""
    to: Path
    """folder for the arrays; an existing data set is replaced when the new one is complete"""
    source: Literal["files", "tfds"] = "files"
    """files: archives or folders; tfds: svhn_full, prepared with TensorFlow Datasets"""
    splits: Splits = ()
    """the splits to read"""
    margin: Annotated[float, within(0, 10)] = 0.3
    """how much the box of a number is enlarged, as a share of its width and height"""
    size: Annotated[int, within(8, 512)] = 64
    """side of the crops in pixels"""
    max_digits: MaxDigits = DEFAULT_MAX_DIGITS
    """the most digits of a number that its label holds; of a longer one it holds the first ones,
    and that there are more. A run on these data needs the same model.max_digits"""
    validation_fraction: Fraction = 0.05
    """share of train and of extra, for each length 1 to max_digits, that is held out for
    validation; at least one number is held out, unless the share is 0 or there is only one
    number"""
    seed: Annotated[int, at_least(0)] = 0
    """seed for the choice of validation photos"""
    skip_bad: bool = False
    """skip the rows of your labels.csv that cannot be used, and name them in the manifest; by
    default the command lists them and writes nothing. Bad records of the published archives are
    always skipped and named"""
    jobs: Annotated[int, at_least(1)] = field(default_factory=usable_cores)
    """number of processes that decode and crop; the arrays do not depend on it"""


def main(options: Options, terminal: Terminal) -> None:
    find_all = find.find_all if options.source == "files" else tfds.find_all
    sources = find_all(options.raw, options.splits)
    target, raw = options.to.resolve(), options.raw.resolve()
    if target == raw or target in raw.parents or raw in target.parents:
        raise InputError(f"{options.to}: overlaps the folder of the photos; give another --to")
    writing.require_replaceable(options.to)
    settings = preparing.settings(
        CropRule(options.size, options.margin),
        max_digits=options.max_digits,
        validation_fraction=options.validation_fraction,
        seed=options.seed,
    )
    jobs, skip_bad = options.jobs, options.skip_bad
    with writing.building(options.to) as folder:
        preparing.build(folder, sources, settings, jobs=jobs, skip_bad=skip_bad, terminal=terminal)
    manifest = arrays.read_manifest(options.to)
    _print_summary(terminal, manifest)
    _warn_of_whole_photos(options.to, manifest, terminal)
    terminal.result({"to": str(options.to)} | manifest)


def _warn_of_whole_photos(folder: Path, manifest: dict[str, Any], terminal: Terminal) -> None:
    for split in manifest["splits"]:
        boxes, sizes = arrays.load_geometry(folder, split)
        if count := int((boxes[:, 2:] == sizes).all(axis=1).sum()):
            terminal.warn(
                f"{split}: {count:,} numbers without a box are taken to fill their photos; "
                "svhn_jax box finds boxes"
            )


def _print_summary(terminal: Terminal, manifest: dict[str, Any]) -> None:
    for split, entry in manifest["splits"].items():
        lengths = sorted((int(length), count) for length, count in entry["lengths"].items())
        names = [
            f"{count:,} of {labels.length_name(length, manifest['max_digits'])}"
            for length, count in lengths
        ]
        terminal.print(f"{split}: {entry['examples']:,} numbers; by digits: {', '.join(names)}")
    if (held := manifest["splits"].get("validation", {"examples": FEW})["examples"]) < FEW:
        terminal.warn(
            f"{held} photos for validation, by which training chooses its best step; give more "
            "photos or a higher --validation-fraction"
        )
    for source in manifest["sources"].values():
        skipped = source["skipped"]
        terminal.print(f"{source['path']}: {source['kept']:,} kept, {len(skipped):,} skipped")
        reasons = Counter(one["reason"] for one in skipped)
        for reason, count in reasons.most_common(REASONS_SHOWN):
            first = next(one["name"] for one in skipped if one["reason"] == reason)
            terminal.print(f"  {count:,} x {reason}; the first: {first}")


if __name__ == "__main__":
    cli.run(Options, main)
