"""The report of a run: how it learned, how well a saved step reads a split, and where it errs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from svhn_jax import config_files, labels
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.scoring import Scored
from svhn_jax.reports import page, plots
from svhn_jax.reports.page import Gallery, Picture, Section, Table
from svhn_jax.runs.results import results

PICTURES = 24
SUSPECT_CONFIDENCE = 0.9
SUSPECTS_LISTED = 100
TRAIN_CURVES = (
    ("loss", "loss (nats)"),
    ("sequence_accuracy", "whole numbers right"),
    ("digit_accuracy", "digits right"),
)


class RunResults(NamedTuple):
    """What the report is made of.

    name: of the run. split, data, step: what was scored. metrics: rows of metrics.jsonl. results: rows of the results table of
    that split, each with step and metrics. summary: the metrics of the scored step. table: its predictions.
    images: uint8[N, S, S, 3], the crops. settings: the configuration as text.
    """

    name: str
    split: str
    data: str
    step: int
    metrics: Sequence[Mapping[str, Any]]
    results: Sequence[Mapping[str, Any]]
    summary: Mapping[str, float]
    table: PredictionTable
    images: np.ndarray
    settings: str


def gather(scored: Scored, split: str) -> RunResults:
    """What the report of a scored step shows, with what the run's folder holds beside it."""
    return RunResults(
        name=scored.config.name,
        split=split,
        data=scored.folder,
        step=scored.step,
        metrics=scored.run.metrics(),
        results=results(scored.run, scored.name),
        summary=scored.metrics,
        table=scored.table,
        images=scored.split.images,
        settings=config_files.to_json(scored.config),
    )


def render(run: RunResults) -> str:
    """The page as HTML."""
    photos = len(run.table.names)
    subtitle = f"Step {run.step:,} on {photos:,} photos: the {run.split} split of {run.data}, each read in one window (no --tta)."
    sections = [
        _learning(run.metrics),
        _steps(run),
        _groups(run.table),
        _confidence(run.table),
        _confusions(run.table),
        _errors(run),
        Section("settings", "Settings", code=run.settings),
    ]
    return page.render(f"Run {run.name}", subtitle, _numbers(run), [one for one in sections if one])


def _numbers(run: RunResults) -> list[tuple[str, str, str]]:
    summary = run.summary
    interval = f"95 % interval {summary['sequence_low']:.2%} to {summary['sequence_high']:.2%}"
    kept = "photos kept with that accuracy"
    return [
        ("whole numbers right", f"{run.table.is_right.mean():.2%}", interval),
        ("digits right", f"{summary['digit_accuracy']:.2%}", "of the digits present"),
        (
            "positions right",
            f"{summary['positional_digit_accuracy']:.2%}",
            f"of {run.table.max_digits}, blanks counted",
        ),
        ("lengths right", f"{summary['length_accuracy']:.2%}", ""),
        ("coverage at 98 %", f"{summary['coverage_98']:.2%}", kept),
        ("coverage at 99 %", f"{summary['coverage_99']:.2%}", kept),
        (
            "calibration error",
            f"{summary['calibration_error']:.2%}",
            f"expected, {scores.CALIBRATION_BINS} bins",
        ),
        ("edit distance", f"{summary['edit_distance']:.3f}", "mean digits to change in a number"),
        ("loss", f"{summary['loss']:.4f}", "nats a photo"),
    ]


def _learning(metrics: Sequence[Mapping[str, Any]]) -> Section | None:
    if not metrics:
        return None
    text = (
        "Training is measured with augmentation and dropout, over the steps since the last line; validation without, on the averaged "
        "parameters where the run keeps an average. Where validation falls while training still rises, the network overfits."
    )
    if not any(row.get("split") == "validation" for row in metrics):
        text = "This run has not been validated yet. " + text
    curves = [(label, plots.learning_curve(metrics, name, label)) for name, label in TRAIN_CURVES]
    return Section("learning", "Learning", text, plots=curves)


def _steps(run: RunResults) -> Section | None:
    columns = (
        "step",
        "loss",
        "sequence_accuracy",
        "digit_accuracy",
        "positional_digit_accuracy",
        "length_accuracy",
    )
    rows: list[list[str]] = []
    for split, source in (
        (
            "validation, while training",
            [row for row in run.metrics if row.get("split") == "validation"],
        ),
        (run.split, run.results),
    ):
        rows += [
            [split, f"{row['step']:,}", *(_cell(row.get(name)) for name in columns[1:])]
            for row in source
        ]
    if not rows:
        return None
    names = ("split", "step", "loss", "sequence", "per digit", "positional", "length")
    return Section(
        "steps", "Steps", "Accuracy at each step that was scored.", tables=[Table(names, rows)]
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _groups(table: PredictionTable) -> Section:
    lengths = {
        labels.length_name(length, table.max_digits): counts
        for length, counts in predictions.by_length(table).items()
    }
    positions = {
        str(position): counts for position, counts in predictions.by_position(table).items()
    }
    charts = [
        (f"{of}, {by}", plots.accuracy_bars(_with_intervals(counts), what, of.lower()))
        for of, by, counts, what in (
            ("Whole numbers right", "by length", lengths, "digits in the number"),
            ("Digits right", "by position", positions, "position of the digit, from the left"),
        )
        if counts
    ]
    return Section(
        "groups", "By length and position", "With 95 % intervals (Wilson).", plots=charts
    )


def _with_intervals(
    counts: Mapping[str, tuple[int, int]],
) -> dict[str, tuple[scores.Interval, int]]:
    return {
        name: (scores.wilson_interval(right, total), total)
        for name, (right, total) in counts.items()
    }


def _confidence(table: PredictionTable) -> Section:
    right, confidence = table.is_right, table.confidence
    kept, accuracies = scores.coverage_curve(confidence, right)
    targets = {
        target: scores.coverage(confidence, right, target) for target in scores.COVERAGE_TARGETS
    }
    text = (
        "Coverage: if the photos of least confidence are left to a person, how many of the others are right (Goodfellow et al. 2014). "
        "Calibration: a confidence of 80 % should be right 8 times in 10 (the dotted line); above the line the network is too modest, below it too sure. "
        "The area of a dot is its share of the photos."
    )
    charts = [
        ("Coverage", plots.coverage_curve(kept, accuracies, targets)),
        ("Calibration", plots.reliability(scores.calibration_bins(confidence, right))),
    ]
    return Section("confidence", "Confidence", text, plots=charts)


def _confusions(table: PredictionTable) -> Section:
    digits = [*map(str, range(10)), "none"]
    classes = range(labels.length_classes(table.max_digits))
    lengths = [labels.length_name(length, table.max_digits) for length in classes]
    charts = [
        (
            "Digits",
            plots.confusion(
                scores.digit_confusion(table.truths, table.predictions), digits, "digit"
            ),
        ),
        (
            "Lengths",
            plots.confusion(
                scores.length_confusion(table.truths, table.predictions), lengths, "length"
            ),
        ),
    ]
    text = 'Digits at the same position are compared; "none" stands where a number has ended. Cells are counts, shaded by their share of the row.'
    return Section("confusions", "Confusions", text, plots=charts)


def _errors(run: RunResults) -> Section:
    table = run.table
    wrong, right = np.flatnonzero(~table.is_right), np.flatnonzero(table.is_right)
    sure_errors = wrong[np.argsort(-table.confidence[wrong], kind="stable")]
    unsure_hits = right[np.argsort(table.confidence[right], kind="stable")]
    suspects = sure_errors[table.confidence[sure_errors] >= SUSPECT_CONFIDENCE]
    galleries = [
        Gallery(
            f"{title} ({min(PICTURES, len(rows))} of {len(rows):,})",
            [_picture(run, row) for row in rows[:PICTURES]],
        )
        for title, rows in (
            ("Most confident errors", sure_errors),
            ("Least confident hits", unsure_hits),
        )
        if len(rows)
    ]
    tables = []
    if len(suspects):
        rows = [
            (
                table.names[row],
                labels.shown(table.truths[row]),
                labels.shown(table.predictions[row]),
                f"{table.confidence[row]:.1%}",
            )
            for row in suspects[:SUSPECTS_LISTED]
        ]
        title = f"Suspected label errors: wrong with a confidence of {SUSPECT_CONFIDENCE:.0%} or more ({len(suspects):,})"
        tables.append(Table(("photo", "label", "prediction", "confidence"), rows, title))
    text = "Each with its prediction, its label where they differ, the confidence, and the photo's name."
    return Section(
        "photos", "Photos", text if galleries else "No photo.", tables=tables, galleries=galleries
    )


def _picture(run: RunResults, row: int) -> Picture:
    table = run.table
    truth, prediction = labels.shown(table.truths[row]), labels.shown(table.predictions[row])
    is_wrong = truth != prediction
    return Picture(
        page.picture_url(run.images[row]),
        alt=f"{table.names[row]}, labelled {truth}",
        caption=f"{prediction}, is {truth}" if is_wrong else prediction,
        note=f"{table.confidence[row]:.1%} · {table.names[row]}",
        is_wrong=is_wrong,
    )
