"""python -m svhn_jax.synthesize --to DIR: renders synthetic house numbers, as archives in the
published layout.

Writes DIR/train.tar.gz, DIR/extra.tar.gz and DIR/test.tar.gz, each with SPLIT/N.png and
SPLIT/digitStruct.mat. With --arrays DIR it writes the prepared data set that svhn_jax.preprocess
would make of these archives, in less time and space. The lengths of the numbers are distributed
as in the published split; with --max-digits 6 or more every length is as frequent. A photo
depends only on (seed, split, N) and that option.
"""

from dataclasses import dataclass, field
from typing import Annotated

from svhn_jax import cli
from svhn_jax.checked import Checked, Fraction, at_least, within
from svhn_jax.cli import OptionalPath
from svhn_jax.data import arrays, crop, writing
from svhn_jax.data.synthetic import archive as synthetic_archive
from svhn_jax.data.synthetic import arrays as synthetic_arrays
from svhn_jax.data.workers import Workers, usable_cores
from svhn_jax.errors import InputError
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits
from svhn_jax.output import Terminal

PHOTOS_PER_PROCESS = 500  # starting a process takes as long as rendering this many


@dataclass(frozen=True)
class Options(Checked):
    """Renders synthetic house-number photos."""

    to: OptionalPath = None
    """folder for train.tar.gz, extra.tar.gz and test.tar.gz"""
    arrays: OptionalPath = None
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
            raise InputError("give either --to for archives or --arrays for a prepared data set")

    @property
    def counts(self) -> dict[str, int]:
        """The number of photos of each split, without the splits of 0 photos."""
        counts = {"train": self.train, "extra": self.extra, "test": self.test}
        return {split: count for split, count in counts.items() if count}


def main(options: Options, terminal: Terminal) -> None:
    make = _make_arrays if options.arrays else _make_archives
    with Workers(min(options.jobs, sum(options.counts.values()) // PHOTOS_PER_PROCESS)) as workers:
        make(options, workers, terminal)
    to = str(options.to or options.arrays)
    terminal.result({"to": to, "photos": options.counts, "seed": options.seed})


def _make_archives(options: Options, workers: Workers, terminal: Terminal) -> None:
    assert options.to
    options.to.mkdir(parents=True, exist_ok=True)
    targets = {split: options.to / f"{split}.tar.gz" for split in options.counts}
    for target in targets.values():
        if target.exists() and not synthetic_archive.made_with(target):
            raise InputError(f"{target}: not made by this command; give another --to")
    for split, target in targets.items():
        count, state = options.counts[split], " is up to date"
        receipt = synthetic_archive.receipt(count, options.seed, options.max_digits)
        if synthetic_archive.made_with(target) != receipt:
            state = ""
            settings = {"seed": options.seed, "max_digits": options.max_digits}
            with terminal.progress(f"{split}: rendering", count, "photos") as advance:
                synthetic_archive.write(
                    target, split, count, **settings, workers=workers, advance=advance
                )
        terminal.print(f"{target}{state}: {count:,} synthetic photos")


def _make_arrays(options: Options, workers: Workers, terminal: Terminal) -> None:
    assert options.arrays
    folder, count = options.arrays, sum(options.counts.values())
    settings = synthetic_arrays.settings(
        options.counts,
        crop.CropRule(options.size, options.margin),
        max_digits=options.max_digits,
        validation_fraction=options.validation_fraction,
        seed=options.seed,
    )
    writing.require_replaceable(folder)
    there = arrays.read_manifest(folder) if (folder / arrays.MANIFEST).exists() else settings
    if "synthetic" not in there:
        raise InputError(f"{folder}: not a synthetic data set; give a new or an empty folder")
    state = " is up to date"
    if there is settings or not settings.items() <= there.items():
        state = ""
        with (
            writing.building(folder) as unfinished,
            terminal.progress("all: rendering", count, "photos") as advance,
        ):
            synthetic_arrays.build(unfinished, settings, workers, advance)
    splits = arrays.read_manifest(folder)["splits"].items()
    counts = ", ".join(f"{entry['examples']:,} {split}" for split, entry in splits)
    terminal.print(f"{folder}{state}: {counts} synthetic numbers, {options.size} x {options.size}")


if __name__ == "__main__":
    cli.run(Options, main)
