"""python -m svhn_jax.synthesize --arrays DIR: renders synthetic house numbers, as a prepared data
set, the one that svhn_jax.preprocess would make of these photos.

With --to DIR it writes the photos, DIR/SPLIT/N.png, and DIR/SPLIT/labels.csv. The lengths of the
numbers are distributed as in the published split; with --max-digits 6 or more every length is as
frequent. A photo depends only on (seed, split, N) and that option.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from svhn_jax import cli
from svhn_jax.checked import Checked, Fraction, at_least, within
from svhn_jax.data import arrays, crop, writing
from svhn_jax.data.synthetic import arrays as synthetic_arrays
from svhn_jax.data.synthetic import photos
from svhn_jax.data.workers import Workers, usable_cores
from svhn_jax.errors import InputError
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits
from svhn_jax.output import Terminal

PHOTOS_PER_PROCESS = 500  # starting a process takes as long as rendering this many


@dataclass(frozen=True)
class Options(Checked):
    """Renders synthetic house-number photos."""

    to: Path | None = None
    """new folder for the photos"""
    arrays: Path | None = None
    """folder for a prepared data set; an existing one is replaced when the new one is complete"""
    train: Annotated[int, at_least(0)] = 20_000
    """number of photos of train; 0 for none"""
    extra: Annotated[int, at_least(0)] = 0
    """number of photos of extra, which has longer numbers; 0 for none"""
    test: Annotated[int, at_least(0)] = 2_000
    """number of photos of test; 0 for none"""
    seed: Annotated[int, at_least(0)] = 0
    """seed of the photos"""
    max_digits: MaxDigits = DEFAULT_MAX_DIGITS
    """with --arrays: the most digits of a number that its label holds. Above 5, as for meters
    and plates, numbers of 1 to this many digits are rendered, each length as often; up to 5 the
    photos do not depend on it"""
    size: Annotated[int, within(8, 512)] = 64
    """with --arrays: side of the crops in pixels"""
    margin: Annotated[float, within(0, 10)] = 0.3
    """with --arrays: how much the box of a number is enlarged, as a share of its sides"""
    validation_fraction: Fraction = 0.05
    """with --arrays: share of train and of extra, for each length, that is held out"""
    jobs: Annotated[int, at_least(1)] = field(default_factory=usable_cores)
    """number of processes; the photos do not depend on it"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.counts:
            raise InputError("--train, --extra and --test are all 0; there is nothing to make")
        if (self.to is None) == (self.arrays is None):
            raise InputError("give either --to for photos or --arrays for a prepared data set")

    @property
    def counts(self) -> dict[str, int]:
        """The number of photos of each split, without the splits of 0 photos."""
        counts = {"train": self.train, "extra": self.extra, "test": self.test}
        return {split: count for split, count in counts.items() if count}


def main(options: Options, terminal: Terminal) -> None:
    folder = options.to or options.arrays
    assert folder
    make = _write_photos if options.to else _write_arrays
    jobs = min(options.jobs, sum(options.counts.values()) // PHOTOS_PER_PROCESS)
    make(folder, options, Workers(jobs), terminal)
    terminal.result({"to": str(folder), "photos": options.counts, "seed": options.seed})


def _write_photos(folder: Path, options: Options, workers: Workers, terminal: Terminal) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty; give a new folder")
    settings = {"seed": options.seed, "max_digits": options.max_digits}
    with (
        writing.building(folder) as unfinished,
        workers,  # they end before the unfinished folder is deleted
        terminal.progress("all: rendering", sum(options.counts.values()), "photos") as advance,
    ):
        for split, count in options.counts.items():
            to = unfinished / split
            photos.write(to, split, count, **settings, workers=workers, advance=advance)
    counts = ", ".join(f"{count:,} {split}" for split, count in options.counts.items())
    terminal.print(f"{folder}: {counts} synthetic photos")


def _write_arrays(folder: Path, options: Options, workers: Workers, terminal: Terminal) -> None:
    settings = synthetic_arrays.settings(
        options.counts,
        crop.CropRule(options.size, options.margin),
        max_digits=options.max_digits,
        validation_fraction=options.validation_fraction,
        seed=options.seed,
    )
    writing.require_replaceable(folder)
    if (folder / arrays.MANIFEST).exists() and "synthetic" not in arrays.read_manifest(folder):
        raise InputError(f"{folder}: not a synthetic data set; give a new or an empty folder")
    with (
        writing.building(folder) as unfinished,
        workers,  # they end before the unfinished folder is deleted
        terminal.progress("all: rendering", sum(options.counts.values()), "photos") as advance,
    ):
        synthetic_arrays.build(unfinished, settings, workers, advance)
    splits = arrays.read_manifest(folder)["splits"].items()
    counts = ", ".join(f"{entry['examples']:,} {split}" for split, entry in splits)
    terminal.print(f"{folder}: {counts} synthetic numbers, {options.size} x {options.size}")


if __name__ == "__main__":
    cli.run(Options, main)
