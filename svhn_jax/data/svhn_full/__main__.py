"""python -m svhn_jax.data.svhn_full --raw DIR --data-dir DIR: makes the TFDS data set svhn_full.

Reads the published archives of train, test and extra, or those of them that exist, and writes
array_record files, which TensorFlow Datasets reads with and without TensorFlow. Names what it
skips.
"""

from dataclasses import dataclass
from pathlib import Path

from svhn_jax import cli
from svhn_jax.checked import Checked
from svhn_jax.data.accounting import skipped_lines
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources.find import find_all
from svhn_jax.data.sources.tfds import import_tfds
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options(Checked):
    """Writes SVHN's full house numbers as a TensorFlow Datasets data set."""

    raw: Path
    """folder with the archives train.tar.gz, test.tar.gz, extra.tar.gz, or with extracted ones"""
    data_dir: Path
    """TFDS's folder of data sets, in which this one becomes svhn_full/VERSION"""


def main(options: Options, terminal: Terminal) -> None:
    tfds = import_tfds()
    from svhn_jax.data.svhn_full.svhn_full_dataset_builder import Builder

    splits = [source.split for source in find_all(options.raw)]
    builder = Builder(data_dir=options.data_dir)
    if not builder.info.initialized:
        config = tfds.download.DownloadConfig(manual_dir=options.raw)
        builder.download_and_prepare(download_config=config)
    elif lacking := sorted(set(splits) - set(builder.info.splits)):
        raise InputError(
            f"{builder.data_dir}: was prepared without {', '.join(lacking)}; delete that folder, "
            "then run the same command again"
        )
    else:
        terminal.print(f"{builder.data_dir} exists; delete that folder to prepare it again")
    for split, info in builder.info.splits.items():
        terminal.print(f"{split}: {info.num_examples:,} photos")
        skipped = builder.info.metadata["skipped"][split]
        for line in skipped_lines(Skipped(**entry) for entry in skipped):
            terminal.print(line)
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    terminal.result({"to": str(builder.data_dir), "photos": counts})


if __name__ == "__main__":
    cli.run(Options, main)
