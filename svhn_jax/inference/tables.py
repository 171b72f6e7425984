"""Results of an evaluation, printed in 80 columns or as JSON."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from svhn_jax import files, labels
from svhn_jax.data.arrays import Split
from svhn_jax.data.pictures import contact_sheet, png
from svhn_jax.errors import InputError, printable
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.source import Source
from svhn_jax.options import Evaluate
from svhn_jax.runs.results import predictions_path, results_path

SHEET_IMAGES = 24
MOST_ERRORS = 1000

SHOWN = {  # metrics of the printed table, and their headings
    "loss": "loss",
    "sequence_accuracy": "sequence",
    "digit_accuracy": "per digit",
    "positional_digit_accuracy": "positional",
    "length_accuracy": "length",
}


def require_writable(options: Evaluate, source: Source) -> None:
    """Raises InputError if the results, OSError if the sheets that the options name cannot be written; both name the file."""
    results = results_path(source.run, source.name)
    if not str(results).startswith(files.REMOTE):
        try:
            files.require_writable(Path(results))
        except OSError as error:
            raise InputError(
                f"{results}: {error.strerror}; evaluate writes its results into the run's folder: copy the run to a folder "
                "in which you may write, with free space"
            ) from None
    for path in (options.sheet, options.errors):
        if path:
            files.require_writable(path)


def print_results(
    console: Console,
    options: Evaluate,
    source: Source,
    rows: dict[int, dict[str, float]],
    last: tuple[int, PredictionTable],
) -> None:
    """Prints the results; draws the sheets that the options name of the step scored last, given with its predictions."""
    step, table = last
    print_table(
        console, printable(f"{source.config.name}: {options.split} of {source.folder}"), rows
    )
    print_details(console, step, rows[step], table)
    console.print(f"written to {results_path(source.run, source.name)}", soft_wrap=True)
    console.print(
        f"predictions of step {step}: {predictions_path(source.run, source.name, step)}",
        soft_wrap=True,
    )
    if options.sheet:
        _save_sheet(
            options.sheet, source.split, table, np.arange(min(SHEET_IMAGES, len(table.names)))
        )
        console.print(
            f"{options.sheet}: the first photos, as step {step} reads them", soft_wrap=True
        )
    if options.errors:
        misread = (~table.is_right).nonzero()[0]
        shown = misread[:MOST_ERRORS]
        _save_sheet(options.errors, source.split, table, shown)
        words = f"{len(shown):,} of {len(misread):,} misread photos, as step {step} reads them"
        console.print(f"{options.errors}: {words}", soft_wrap=True)


def _save_sheet(path: Path, split: Split, table: PredictionTable, rows: np.ndarray) -> None:
    sheet = contact_sheet(split.images[rows], split.labels[rows], table.predictions[rows])
    files.write_bytes(path, png(sheet))


def print_table(console: Console, title: str, rows: dict[int, dict[str, float]]) -> None:
    """One line of metrics for each step."""
    table = Table(title=title)
    for heading in ("step", "photos", *SHOWN.values()):
        table.add_column(heading, justify="right")
    for step, row in rows.items():
        table.add_row(str(step), f"{row['examples']:,.0f}", *(f"{row[name]:.4f}" for name in SHOWN))
    console.print(table)


def print_details(
    console: Console, step: int, row: dict[str, float], table: PredictionTable
) -> None:
    """Further metrics of one step, in lines of at most 80 characters."""
    lengths = {
        labels.length_name(n, table.max_digits): x for n, x in predictions.by_length(table).items()
    }
    positions = {str(n): counts for n, counts in predictions.by_position(table).items()}
    console.print(
        f"step {step}: sequence {row['sequence_accuracy']:.2%} "
        f"(95 % interval {row['sequence_low']:.2%} to {row['sequence_high']:.2%})\n"
        f"coverage: {row['coverage_98']:.1%} of the photos at 98 % accuracy, {row['coverage_99']:.1%} at 99 %\n"
        f"calibration error {row['calibration_error']:.2%}; mean edit distance {row['edit_distance']:.3f}; "
        f"{row['images_per_s']:,.0f} images/s"
    )
    for title, counts in (("right by length:  ", lengths), ("right by position:", positions)):
        shares = (
            f"{name}:~{right / total:.1%}~of~{total:,}" for name, (right, total) in counts.items()
        )
        lines = textwrap.fill(
            f"{title}~" + "; ".join(shares), 80, subsequent_indent=" " * (len(title) + 1)
        )
        console.print(lines.replace("~", " "))  # a line ends between two shares alone


def as_json(
    run: str,
    split: str,
    rows: dict[int, dict[str, float]],
    table: PredictionTable,
    damaged: list[str],
) -> Any:
    """The results for scripts: metrics of every step; of the last one also counts (right, of how many) and confusions.

    damaged: the errors of the steps left out.
    """
    return {
        "run": run,
        "split": split,
        "steps": [{"step": step} | row for step, row in rows.items()],
        "damaged": damaged,
        "last_step": {
            "step": max(rows),
            "by_length": predictions.by_length(table),
            "by_position": predictions.by_position(table),
            "digit_confusion": scores.digit_confusion(table.truths, table.predictions).tolist(),
            "length_confusion": scores.length_confusion(table.truths, table.predictions).tolist(),
        },
    }
