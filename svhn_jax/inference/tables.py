"""Results of an evaluation, printed in 80 columns or as JSON."""

import textwrap
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from svhn_jax.data.pictures import contact_sheet
from svhn_jax.errors import printable
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.source import Source
from svhn_jax.labels import MAX_DIGITS
from svhn_jax.options import Evaluate
from svhn_jax.runs.results import results_path, write_predictions

SHEET_IMAGES = 24
MOST_ERRORS = 1000

SHOWN = {  # metrics of the printed table, and their headings
    "loss": "loss",
    "sequence_accuracy": "sequence",
    "digit_accuracy": "per digit",
    "positional_digit_accuracy": "positional",
    "length_accuracy": "length",
}


def tell(
    console: Console, options: Evaluate, source: Source, rows: dict[int, dict[str, float]], table: PredictionTable
) -> None:
    """Prints the results, and writes the predictions of the last step, and its sheet if one is wanted."""
    step = max(rows)
    path = write_predictions(source.run, source.name, step, table.to_csv())
    print_table(console, printable(f"{source.config.name}: {options.split} of {source.folder}"), rows)
    print_details(console, step, rows[step], table)
    console.print(f"written to {results_path(source.run, source.name)}", soft_wrap=True)
    console.print(f"predictions of step {step}: {path}", soft_wrap=True)
    split, misread = source.split, (~table.is_right).nonzero()[0]
    first = np.arange(min(SHEET_IMAGES, len(split.images)))
    for path, rows_shown, words in (
        (options.sheet, first, "the first photos"),
        (
            options.errors,
            misread[:MOST_ERRORS],
            f"{min(len(misread), MOST_ERRORS):,} of {len(misread):,} misread photos",
        ),
    ):
        if path:
            contact_sheet(split.images[rows_shown], split.labels[rows_shown], table.predictions[rows_shown]).save(path)
            console.print(f"{path}: {words}, as step {step} reads them", soft_wrap=True)


def print_table(console: Console, title: str, rows: dict[int, dict[str, float]]) -> None:
    """One line of metrics for each step."""
    table = Table(title=title)
    for heading in ("step", "photos", *SHOWN.values()):
        table.add_column(heading, justify="right")
    for step, row in rows.items():
        table.add_row(str(step), f"{row['examples']:,.0f}", *(f"{row[name]:.4f}" for name in SHOWN))
    console.print(table)


def print_details(console: Console, step: int, row: dict[str, float], table: PredictionTable) -> None:
    """What else is to know of one step, in lines of at most 80 characters."""
    lengths = {f"> {MAX_DIGITS}" if n > MAX_DIGITS else str(n): x for n, x in predictions.by_length(table).items()}
    positions = {str(n): counts for n, counts in predictions.by_position(table).items()}
    console.print(
        f"step {step}: sequence {row['sequence_accuracy']:.2%} "
        f"(95 % interval {row['sequence_low']:.2%} to {row['sequence_high']:.2%})\n"
        f"coverage: {row['coverage_98']:.1%} of the photos at 98 % accuracy, {row['coverage_99']:.1%} at 99 %\n"
        f"calibration error {row['calibration_error']:.2%}; mean edit distance {row['edit_distance']:.3f}; "
        f"{row['images_per_s']:,.0f} images/s"
    )
    for title, counts in (("right by length:  ", lengths), ("right by position:", positions)):
        shares = (f"{name}:~{right / total:.1%}~of~{total:,}" for name, (right, total) in counts.items())
        lines = textwrap.fill(f"{title}~" + "; ".join(shares), 80, subsequent_indent=" " * (len(title) + 1))
        console.print(lines.replace("~", " "))  # a line ends between two shares alone


def as_json(run: str, split: str, rows: dict[int, dict[str, float]], table: PredictionTable) -> Any:
    """The results for scripts: metrics of every step; of the last one also counts (right, of how many) and confusions."""
    return {
        "run": run,
        "split": split,
        "steps": [{"step": step} | row for step, row in rows.items()],
        "last_step": {
            "step": max(rows),
            "by_length": predictions.by_length(table),
            "by_position": predictions.by_position(table),
            "digit_confusion": scores.digit_confusion(table.truths, table.predictions).tolist(),
            "length_confusion": scores.length_confusion(table.truths, table.predictions).tolist(),
        },
    }
