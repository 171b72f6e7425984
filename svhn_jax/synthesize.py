"""python -m svhn_jax.synthesize --to DIR: renders synthetic house numbers, in the layout of the published archives.

Writes DIR/train.tar.gz, DIR/extra.tar.gz and DIR/test.tar.gz, each with SPLIT/N.png and
SPLIT/digitStruct.mat. With --arrays DIR it writes the prepared data set that svhn_jax.preprocess would
make of these archives, in less time and space. The lengths of the numbers are distributed as in the
published split; with --max-digits 6 or more every length is as frequent. A photo depends only on (seed, split, N) and
that option.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from rich.console import Console

from svhn_jax import command_line, output
from svhn_jax.checked import Checked, Fraction, at_least, within
from svhn_jax.data import arrays, writing
from svhn_jax.data.synthetic import archive as synthetic_archive
from svhn_jax.data.synthetic import arrays as synthetic_arrays
from svhn_jax.data.workers import Workers, usable_cores
from svhn_jax.errors import InputError, run_command
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits
from svhn_jax.options import OptionalPath, OutputOptions
from svhn_jax.output import Output

PHOTOS_PER_PROCESS = 500  # starting a process takes as long as rendering so many


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
    """with --arrays: the most digits of a number that its label holds. Above 5, as for meters and plates, numbers of 1 to so many
    digits are rendered, each length as often; up to 5 the photos do not depend on it"""
    size: Annotated[int, within(8, 512)] = 64
    """with --arrays: side of the crops in pixels"""
    margin: Annotated[float, within(0, 10)] = 0.3
    """with --arrays: how much the box of a number is enlarged, as a share of its width and height"""
    validation_fraction: Fraction = 0.05
    """with --arrays: share of train and of extra, for each length 1 to max_digits, that is held out for validation"""
    jobs: Annotated[int, at_least(1)] = field(default_factory=usable_cores)
    """number of processes; the photos do not depend on it"""
    output: OutputOptions = field(default_factory=Output)

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


def main() -> None:
    options = command_line.parse(Options, "python -m svhn_jax.synthesize", __doc__ or "")
    console = output.console(options.output)
    if options.arrays:
        _make_arrays(options, options.arrays, console)
    elif options.to:
        _make_archives(options, options.to, console)
    made = {"photos": options.counts, "seed": options.seed}
    output.print_json(options.output, {"to": str(options.to or options.arrays)} | made)


def _make_archives(options: Options, folder: Path, console: Console) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    missing = {}
    for split, count in options.counts.items():
        target = folder / f"{split}.tar.gz"
        made_with = synthetic_archive.made_with(target) or ""
        if made_with == synthetic_archive.receipt(count, options.seed, options.max_digits):
            console.print(f"{target} is up to date: {count:,} synthetic photos", soft_wrap=True)
            continue
        if target.exists() and not made_with.startswith(synthetic_archive.RECEIPT):
            raise InputError(
                f"{target}: not made by this command; move it away, or give another --to"
            )
        missing[split] = count
    with _workers(options, sum(missing.values())) as workers:
        for split, count in missing.items():
            target = folder / f"{split}.tar.gz"
            with output.progress(f"{split}: rendering", count, "photos") as advance:
                synthetic_archive.write(
                    target,
                    split,
                    count,
                    seed=options.seed,
                    max_digits=options.max_digits,
                    workers=workers,
                    advance=advance,
                )
            console.print(f"{target}: {count:,} synthetic photos", soft_wrap=True)


def _make_arrays(options: Options, folder: Path, console: Console) -> None:
    wanted = synthetic_arrays.settings(
        options.counts,
        size=options.size,
        margin=options.margin,
        max_digits=options.max_digits,
        validation_fraction=options.validation_fraction,
        seed=options.seed,
    )
    synthetic_arrays.refuse_other_folders(folder)
    state = " is up to date"
    if not arrays.is_sound(folder, wanted):
        count = sum(options.counts.values())
        with writing.building(folder) as unfinished:
            try:
                with (
                    _workers(options, count) as workers,
                    output.progress("all: rendering", count, "photos") as advance,
                ):
                    synthetic_arrays.build(unfinished, wanted, workers, advance)
            except BaseException:  # it cannot be resumed
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
        state = ""
    splits = arrays.read_manifest(folder)["splits"].items()
    counts = ", ".join(f"{entry['examples']:,} {split}" for split, entry in splits)
    console.print(
        f"{folder}{state}: {counts} synthetic numbers, {options.size} x {options.size}",
        soft_wrap=True,
    )


def _workers(options: Options, count: int) -> Workers:
    return Workers(max(1, min(options.jobs, count // PHOTOS_PER_PROCESS)))


if __name__ == "__main__":
    interrupts.raise_interrupts()
    run_command(main)
