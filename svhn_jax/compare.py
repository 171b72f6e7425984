"""python -m svhn_jax.compare FIRST SECOND: two runs, two steps of a run, or two tables of predictions, on the same photos.

FIRST and SECOND are each the folder of a run (its best step on validation), FOLDER@STEP (a number, best or latest), or
a CSV of predictions that svhn_jax.evaluate wrote; steps are scored anew. Prints how often each is right, the paired
difference with its 95 % interval, McNemar's exact test, and the photos that only one of them reads right.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from svhn_jax import command_line, files, labels, output
from svhn_jax.checked import Checked
from svhn_jax.errors import InputError, naming_out_of_memory, run_command
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.scores import Paired
from svhn_jax.options import CSV, Evaluate, OptionalPath, OptionalStr, OutputOptions
from svhn_jax.output import Output

PHOTOS_SHOWN = 20
COLUMNS = ("name", "truth", "first", "second", "first_confidence", "second_confidence")


@dataclass(frozen=True)
class Options(Checked):
    """Compares two predictions of the same photos."""

    first: tyro.conf.Positional[str]
    """the folder of a run, FOLDER@STEP, or a table of predictions"""
    second: tyro.conf.Positional[str]
    """another one"""
    split: Literal["train", "validation", "test"] = "test"
    """the photos that runs are scored on"""
    data: OptionalStr = None
    """another prepared data set than the runs' own to score them on"""
    csv: Annotated[OptionalPath, CSV] = None
    """CSV to write: every photo that one of the two reads right and the other wrong"""
    output: OutputOptions = field(default_factory=Output)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.csv and os.path.realpath(self.csv) in map(
            os.path.realpath, (self.first, self.second)
        ):
            raise InputError(f"--csv is {self.csv}, which is read; give another name")


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.compare", __doc__ or "")
    console = output.console(options.output)
    if options.csv:
        files.require_writable(options.csv)
    (first_title, first), (second_title, second) = (
        _open(one, options) for one in (options.first, options.second)
    )
    titles = first_title, second_title
    predictions.require_same_photos(first, second, titles)
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
    windows = (
        ""
        if all(map(_is_table, (options.first, options.second)))
        else " (runs read in one window, without --tta)"
    )
    console.print(f"{len(first.names):,} photos; right of them{windows}:")
    _print(console, titles, (first, second), paired, differing)
    result = {
        "first": titles[0],
        "second": titles[1],
        "photos": len(first.names),
    } | paired._asdict()
    output.print_json(options.output, result | {"difference": paired.difference._asdict()})
    return 0


def _is_table(source: str) -> bool:
    return Path(source).is_file() or Path(source).suffix.lower() == ".csv"


def _open(source: str, options: Options) -> tuple[str, PredictionTable]:
    """A title, and the predictions: of a file, or of a step of a run, which is scored."""
    if _is_table(source):
        return source, predictions.read(Path(source))
    from svhn_jax.inference import scoring  # imports JAX, which takes seconds: not for --help
    from svhn_jax.training import compilation

    folder, at, step = source.rpartition("@")
    if not at or Path(source).is_dir():
        folder, step = source, "best"
    if step == "all":
        raise InputError(f"{source}: give one step: a number, best or latest")
    compilation.enable_compilation_cache()
    with naming_out_of_memory("eval_batch_size of the run's config.json sets them"):
        scored = scoring.score_step(
            Evaluate(run=folder, split=options.split, step=step, data=options.data)
        )
    return f"{folder}@{scored.step}", scored.table


def _differing(first: PredictionTable, second: PredictionTable) -> Iterator[tuple[str, ...]]:
    """Rows of COLUMNS: first the photos that only the first reads right, then those that only the second does."""
    for one, other in ((first, second), (second, first)):
        for row in (one.is_right & ~other.is_right).nonzero()[0]:
            numbers = [
                labels.decode(label[row])
                for label in (first.truths, first.predictions, second.predictions)
            ]
            confidences = [f"{table.confidence[row]:.6f}" for table in (first, second)]
            yield (first.names[row], *numbers, *confidences)


def _print(
    console: Console,
    titles: tuple[str, str],
    tables: tuple[PredictionTable, PredictionTable],
    paired: Paired,
    differing: list[tuple[str, ...]],
) -> None:
    for title, table, alone in zip(
        titles, tables, (paired.only_first, paired.only_second), strict=True
    ):
        right = int(table.is_right.sum())
        share = scores.wilson_interval(right, len(table.names))
        console.print(f"{title}:", soft_wrap=True)
        console.print(
            f"  {right:,}, {share.share:.2%} (95 % interval {share.low:.2%} to {share.high:.2%}), {alone:,} right only here"
        )
    difference = paired.difference
    console.print(
        f"second less first: {100 * difference.share:+.2f} points "
        f"(95 % interval {100 * difference.low:+.2f} to {100 * difference.high:+.2f})\n"
        f"McNemar's exact test: p = {paired.p_value:.3g}"
    )
    if differing:
        shown = Table(
            title=f"read right by one alone ({min(len(differing), PHOTOS_SHOWN)} of {len(differing):,})"
        )
        for column in COLUMNS[:4]:
            shown.add_column(column, overflow="fold")
        for row in differing[:PHOTOS_SHOWN]:
            shown.add_row(*row[:4])
        console.print(shown)


if __name__ == "__main__":
    run_command(main)
