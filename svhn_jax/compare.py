"""python -m svhn_jax.compare FIRST.csv SECOND.csv: two predictions of the same photos, paired.

Each file is a table of predictions that svhn_jax.evaluate wrote. Prints how often each is right, the paired difference
with its 95 % interval, McNemar's exact test, and the photos that only one of them reads right.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from svhn_jax import command_line, files, labels
from svhn_jax.errors import InputError, run_command
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.scores import Paired
from svhn_jax.options import OptionalPath

PHOTOS_SHOWN = 20
COLUMNS = ("name", "truth", "first", "second", "first_confidence", "second_confidence")


@dataclass(frozen=True)
class Options:
    """Compares two tables of predictions of the same photos."""

    first: tyro.conf.Positional[Path]
    """a table of predictions, as svhn_jax.evaluate writes it"""
    second: tyro.conf.Positional[Path]
    """another one, of the same photos"""
    csv: OptionalPath = None
    """CSV to write: every photo that one of the two reads right and the other wrong"""
    json: bool = False
    """print one line of JSON, not tables"""


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.compare", __doc__ or "")
    first, second = predictions.read(options.first), predictions.read(options.second)
    predictions.require_same_photos(first, second, (str(options.first), str(options.second)))
    if not first.names:
        raise InputError(f"{options.first}: has no photo to compare")
    paired = scores.compare(first.is_right, second.is_right)
    differing = list(_differing(first, second))
    if options.csv:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(differing)
        files.write_text(options.csv, text.getvalue())
    if options.json:
        print(json.dumps(paired._asdict() | {"difference": paired.difference._asdict()}))
    else:
        _print(options, first, second, paired, differing)
    return 0


def _differing(first: PredictionTable, second: PredictionTable) -> Iterator[tuple[str, ...]]:
    """Rows of COLUMNS: first the photos that only the first reads right, then those that only the second does."""
    for one, other in ((first, second), (second, first)):
        for row in (one.is_right & ~other.is_right).nonzero()[0]:
            numbers = [labels.decode(label[row]) for label in (first.truths, first.predictions, second.predictions)]
            confidences = [f"{table.confidence[row]:.6f}" for table in (first, second)]
            yield (first.names[row], *numbers, *confidences)


def _print(
    options: Options, first: PredictionTable, second: PredictionTable, paired: Paired, differing: list[tuple[str, ...]]
) -> None:
    console = Console(highlight=False, markup=False)
    console.print(f"{len(first.names):,} photos")
    for path, table, alone in (
        (options.first, first, paired.only_first),
        (options.second, second, paired.only_second),
    ):
        right = int(table.is_right.sum())
        share = scores.wilson_interval(right, len(table.names))
        console.print(
            f"{path}: {right:,} right, {share.share:.2%} ({share.low:.2%} to {share.high:.2%}); {alone:,} of them the other reads wrong",
            soft_wrap=True,
        )
    difference = paired.difference
    console.print(
        f"second less first: {100 * difference.share:+.2f} points "
        f"(95 % interval {100 * difference.low:+.2f} to {100 * difference.high:+.2f}); McNemar's exact p = {paired.p_value:.3g}",
        soft_wrap=True,
    )
    if differing:
        shown = Table(title=f"read right by one alone ({min(len(differing), PHOTOS_SHOWN)} of {len(differing):,})")
        for column in COLUMNS[:4]:
            shown.add_column(column, overflow="fold")
        for row in differing[:PHOTOS_SHOWN]:
            shown.add_row(*row[:4])
        console.print(shown)


if __name__ == "__main__":
    run_command(main)
