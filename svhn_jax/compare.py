"""python -m svhn_jax.compare FIRST SECOND: two predictions of the same photos, side by side.

FIRST and SECOND are each the folder of a run (its best step on validation), FOLDER@STEP (a number,
best or latest), or a CSV of predictions that svhn_jax.evaluate wrote; steps are scored anew. Prints
how often each is right, the paired difference with its 95 % interval, McNemar's exact test, and the
photos that only one of them reads right.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.table import Table

from svhn_jax import cli, files, labels
from svhn_jax.checked import Checked
from svhn_jax.cli import CSV, OptionalPath, OptionalStr
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.output import Terminal

PHOTOS_SHOWN = 20
COLUMNS = ("name", "truth", "first", "second", "first_confidence", "second_confidence")

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Options(Checked):
    """Compares two predictions of the same photos."""

    first: tyro.conf.Positional[str]
    """the folder of a run, FOLDER@STEP, or a table of predictions"""
    second: tyro.conf.Positional[str]
    """another one"""
    split: Split = "test"
    """the photos that runs are scored on"""
    data: OptionalStr = None
    """another prepared data set than the runs' own to score them on"""
    csv: Annotated[OptionalPath, CSV] = None
    """CSV to write: every photo that one of the two reads right and the other wrong"""


def main(options: Options, terminal: Terminal) -> None:
    if options.csv:
        files.require_writable(options.csv)
    sources = (options.first, options.second)
    opened = [_open(source, options.split, options.data) for source in sources]
    titles, (first, second) = [title for title, _ in opened], [table for _, table in opened]
    predictions.require_same_photos(first, second, (titles[0], titles[1]))
    paired = scores.compare(first.is_right, second.is_right)
    differing = _differing(first, second)
    if options.csv:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *differing])
        files.write_text(options.csv, text.getvalue())
    terminal.print(f"{len(first.names):,} photos; right of them:")
    alone = (paired.only_first, paired.only_second)
    for title, table, only in zip(titles, (first, second), alone, strict=True):
        right = int(table.is_right.sum())
        share = scores.wilson_interval(right, len(table.names))
        interval = f"95 % interval {share.low:.2%} to {share.high:.2%}"
        terminal.print(
            f"{title}:\n  {right:,}, {share.share:.2%} ({interval}), {only:,} right only here"
        )
    points = [100 * value for value in paired.difference]
    terminal.print(
        f"second less first: {points[0]:+.2f} points "
        f"(95 % interval {points[1]:+.2f} to {points[2]:+.2f})\n"
        f"McNemar's exact test: p = {paired.p_value:.3g}"
    )
    if differing:
        shown = Table(title=f"read right by one alone (first {PHOTOS_SHOWN} of {len(differing):,})")
        for column in COLUMNS[:4]:
            shown.add_column(column, overflow="fold")
        for row in differing[:PHOTOS_SHOWN]:
            shown.add_row(*row[:4])
        terminal.print(shown)
    result = {"first": titles[0], "second": titles[1], "photos": len(first.names)}
    terminal.result(result | paired._asdict() | {"difference": paired.difference._asdict()})


def _open(source: str, split: Split, data: str | None) -> tuple[str, PredictionTable]:
    """A title, and the predictions: of a file, or of a step of a run, which is scored."""
    if Path(source).is_file() or Path(source).suffix.lower() == ".csv":
        return source, predictions.read(Path(source))
    from svhn_jax.inference import scoring  # imports JAX, which takes seconds: not for --help

    folder, at, step = source.rpartition("@")
    if not at or Path(source).is_dir():
        folder, step = source, "best"
    scored = scoring.score_step(folder, split, step, data)
    return f"{folder}@{scored.step}", scored.table


def _differing(first: PredictionTable, second: PredictionTable) -> list[tuple[str, ...]]:
    """Rows of COLUMNS: first the photos that only the first reads right, then the others."""
    rows = []
    for one, other in ((first, second), (second, first)):
        for row in (one.is_right & ~other.is_right).nonzero()[0]:
            numbers = (first.truths[row], first.predictions[row], second.predictions[row])
            confidences = [f"{table.confidence[row]:.6f}" for table in (first, second)]
            rows.append((first.names[row], *map(labels.decode, numbers), *confidences))
    return rows


if __name__ == "__main__":
    cli.run(Options, main)
