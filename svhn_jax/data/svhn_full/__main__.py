"""python -m svhn_jax.data.svhn_full --raw DIR --data-dir DIR: makes the TFDS data set svhn_full of the published archives.

Reads train, test and extra, or those of them that exist, and writes array_record files, which
TensorFlow Datasets reads with and without TensorFlow. Names every record and photo that it skips.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from svhn_jax import command_line
from svhn_jax.data.accounting import skipped_lines
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources.find import find_all
from svhn_jax.data.sources.tfds import import_tfds
from svhn_jax.errors import InputError, run_command


@dataclass(frozen=True)
class Options:
    """Writes SVHN's full house numbers as a TensorFlow Datasets data set."""

    raw: Path
    """folder with train.tar.gz, test.tar.gz, extra.tar.gz, or the extracted train/, test/, extra/"""
    data_dir: Path
    """TFDS's folder of data sets, in which this one becomes svhn_full/VERSION"""


def main() -> None:
    console = Console(highlight=False, markup=False)
    options = command_line.parse(Options, "python -m svhn_jax.data.svhn_full", __doc__ or "")
    tfds = import_tfds()
    from svhn_jax.data.svhn_full import (
        svhn_full_dataset_builder as svhn_full,
    )  # it needs tensorflow_datasets

    splits = [source.split for source in find_all(options.raw)]
    builder = svhn_full.Builder(data_dir=options.data_dir)
    if not builder.info.initialized:
        config = tfds.download.DownloadConfig(manual_dir=options.raw)
        builder.download_and_prepare(download_config=config)
    elif lacking := sorted(set(splits) - set(builder.info.splits)):
        raise InputError(
            f"{builder.data_dir}: was prepared without {', '.join(lacking)}; delete that folder, then run the same command again"
        )
    else:
        console.print(
            f"{builder.data_dir}: exists already; delete that folder to prepare it again",
            soft_wrap=True,
        )
    for split, info in builder.info.splits.items():
        console.print(f"{split}: {info.num_examples:,} photos", soft_wrap=True)
        left_out = builder.info.metadata["left_out"][split]
        entries = left_out["records"] + left_out["photos"]
        for line in skipped_lines(Skipped(entry["name"], entry["reason"]) for entry in entries):
            console.print(line, soft_wrap=True)


if __name__ == "__main__":
    interrupts.raise_interrupts()
    run_command(main)
