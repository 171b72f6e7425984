"""The report of a run: how it learned, how well a saved step reads a split, and its errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from svhn_jax import config_files, labels
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.scoring import Scored
from svhn_jax.reports import page, plots
from svhn_jax.reports.page import Numbers, Section
from svhn_jax.runs.results import results

PICTURES = 24
CURVES = (
    ("loss", "loss (nats)"),
    ("sequence_accuracy", "whole numbers right"),
    ("digit_accuracy", "digits right"),
)
COLUMNS = ("loss", "sequence_accuracy", "digit_accuracy", "length_accuracy")
LEARNING = (
    "Training is measured with augmentation and dropout, validation without. Where validation "
    "falls while training still rises, the network overfits."
)
CONFIDENCE = (
    "Coverage: the accuracy of the photos that are kept if a person reads those of least "
    "confidence (Goodfellow et al. 2014). Calibration: a confidence of 80 % should be right 8 "
    "times in 10 (the dotted line). The area of a dot is its share of the photos."
)
CONFUSIONS = 'Counts, shaded by their share of the row; "none": the number has ended.'


def render(scored: Scored, split: str) -> str:
    """The page of a scored step as HTML, with the metrics in the run's folder."""
    table, rows = scored.table, scored.run.metrics()
    subtitle = (
        f"Step {scored.step:,} on {len(table.names):,} photos: the {split} split of "
        f"{scored.folder}, each read in one window (no --tta)."
    )
    sections: list[Section] = [
        ("By length and position", "With 95 % intervals (Wilson).", [_groups(table)]),
        ("Confidence", CONFIDENCE, [_confidence(table)]),
        ("Confusions", CONFUSIONS, [_confusions(table)]),
        ("Photos", "Prediction, label where it differs, confidence, name.", _photos(scored)),
        ("Settings", "", [page.code(config_files.to_json(scored.config))]),
    ]
    if rows:
        curves = [(label, plots.learning_curve(rows, name, label)) for name, label in CURVES]
        steps = [_steps(rows, results(scored.run, scored.name), split)]
        sections = [
            ("Learning", LEARNING, [page.plots(curves)]),
            ("Steps", "Accuracy at each step that was scored.", steps),
            *sections,
        ]
    return page.render(f"Run {scored.config.name}", subtitle, _numbers(scored), sections)


def _numbers(scored: Scored) -> Numbers:
    metrics = scored.metrics
    interval = f"95 % interval {metrics['sequence_low']:.2%} to {metrics['sequence_high']:.2%}"
    kept = "photos kept with that accuracy"
    return [
        ("whole numbers right", f"{scored.table.is_right.mean():.2%}", interval),
        ("digits right", f"{metrics['digit_accuracy']:.2%}", "of the digits present"),
        ("lengths right", f"{metrics['length_accuracy']:.2%}", ""),
        ("coverage at 98 %", f"{metrics['coverage_98']:.2%}", kept),
        ("coverage at 99 %", f"{metrics['coverage_99']:.2%}", kept),
        ("calibration error", f"{metrics['calibration_error']:.2%}", "expected"),
        ("loss", f"{metrics['loss']:.4f}", "nats a photo"),
    ]


def _steps(
    metrics: Sequence[Mapping[str, Any]], scored: Sequence[Mapping[str, Any]], split: str
) -> str:
    validation = [row for row in metrics if row.get("split") == "validation"]
    rows = [
        [name, f"{row['step']:,}"]
        + ["" if row.get(column) is None else f"{row[column]:.4f}" for column in COLUMNS]
        for name, part in (("validation, while training", validation), (split, scored))
        for row in part
    ]
    return page.table(["split", "step", *(name.replace("_", " ") for name in COLUMNS)], rows)


def _groups(table: PredictionTable) -> str:
    lengths = {
        labels.length_name(length, table.max_digits): counts
        for length, counts in predictions.by_length(table).items()
    }
    positions = predictions.by_position(table)
    charts = [
        (title, plots.accuracy_bars(groups, what, title.lower()))
        for title, groups, what in (
            ("Whole numbers right", lengths, "digits in the number"),
            ("Digits right", positions, "position of the digit, from the left"),
        )
        if groups
    ]
    return page.plots(charts)


def _confidence(table: PredictionTable) -> str:
    right, confidence = table.is_right, table.confidence
    drawn = plots.coverage(confidence, right), plots.reliability(confidence, right)
    return page.plots(zip(("Coverage", "Calibration"), drawn, strict=True))


def _confusions(table: PredictionTable) -> str:
    classes = range(labels.length_classes(table.max_digits))
    lengths = [labels.length_name(length, table.max_digits) for length in classes]
    read = table.truths, table.predictions
    digits = plots.confusion(scores.digit_confusion(*read), [*"0123456789", "none"], "digit")
    by_length = plots.confusion(scores.length_confusion(*read), lengths, "length")
    return page.plots([("Digits", digits), ("Lengths", by_length)])


def _photos(scored: Scored) -> list[str]:
    table = scored.table
    order = np.argsort(-table.confidence, kind="stable")  # the most confident first
    is_right = table.is_right[order]
    galleries = []
    for title, rows in (
        ("Most confident errors", order[~is_right]),
        ("Least confident hits", order[is_right][::-1]),
    ):
        count = f"{min(PICTURES, len(rows))} of {len(rows):,}"
        pictures = [_picture(scored, row) for row in rows[:PICTURES]]
        galleries.append(page.gallery(f"{title} ({count})", pictures))
    return galleries


def _picture(scored: Scored, row: int) -> str:
    table = scored.table
    truth, prediction = labels.shown(table.truths[row]), labels.shown(table.predictions[row])
    caption = prediction if truth == prediction else f"{prediction}, is {truth}"
    note = f"{table.confidence[row]:.1%} · {table.names[row]}"
    return page.picture(scored.split.images[row], caption, note, is_wrong=truth != prediction)
