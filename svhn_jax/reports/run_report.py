"""The report of a run: how it learned, how well a saved step reads a split, and its errors."""

import numpy as np

from svhn_jax import labels
from svhn_jax.inference import scores, scoring
from svhn_jax.inference.scoring import Scored
from svhn_jax.reports import page, plots
from svhn_jax.reports.page import Section

PICTURES = 24
CURVES = (
    ("loss", "loss (nats)"),
    ("sequence_accuracy", "whole numbers right"),
    ("digit_accuracy", "digits right"),
)
LEARNING = (
    "Training is measured with augmentation and dropout, validation without. Where validation "
    "falls while training still rises, the network overfits."
)
SCORES = (
    "Bars: 95 % intervals (Wilson). Coverage: the accuracy of the photos that are kept if a person "
    "reads those of least confidence (Goodfellow et al. 2014). Calibration: a confidence of 80 % "
    "should be right 8 times in 10 (the dotted line); the area of a dot is its share of the photos."
)


def render(scored: Scored, split: str) -> str:
    """The page of a scored step as HTML, with the metrics in the run's folder."""
    metrics, rows = scored.metrics, scored.run.metrics()
    subtitle = (
        f"Step {scored.step:,} on {len(scored.table.names):,} photos: the {split} split of "
        f"{scored.folder}, each read in one window (no --tta)."
    )
    interval = f"95 % interval {metrics['sequence_low']:.2%} to {metrics['sequence_high']:.2%}"
    numbers = [
        ("whole numbers right", f"{scored.table.is_right.mean():.2%}", interval),
        ("digits right", f"{metrics['digit_accuracy']:.2%}", "of the digits present"),
        ("lengths right", f"{metrics['length_accuracy']:.2%}", ""),
        ("coverage at 98 %", f"{metrics['coverage_98']:.2%}", "photos kept with that accuracy"),
        ("calibration error", f"{metrics['calibration_error']:.2%}", "expected"),
        ("loss", f"{metrics['loss']:.4f}", "nats a photo"),
    ]
    curves = [(label, plots.learning_curve(rows, name, label)) for name, label in CURVES]
    sections: list[Section] = [
        ("Learning", LEARNING, [page.plots(curves)]),
        ("Scores", SCORES, [page.plots(_charts(scored))]),
        ("Photos", "Prediction, label where it differs, confidence, name.", _photos(scored)),
    ]
    title = f"Run {scored.run.config().name}"
    return page.render(title, subtitle, numbers, sections if rows else sections[1:])


def _charts(scored: Scored) -> list[tuple[str, str]]:
    """Title and SVG of each chart of the scores."""
    table, right = scored.table, scored.table.is_right
    most = labels.max_digits_of(table.truths)
    names = [labels.length_name(length, most) for length in range(labels.length_classes(most))]
    lengths = {names[length]: counts for length, counts in scoring.by_length(table).items()}
    positions = scoring.by_position(table)
    length = scores.confusion(table.truths[:, 0], table.predictions[:, 0], len(names))
    digits = scores.confusion(table.truths[:, 1:], table.predictions[:, 1:], labels.DIGIT_CLASSES)
    return [
        ("Whole numbers", plots.accuracy_bars(lengths, "digits in the number", "right")),
        ("Digits", plots.accuracy_bars(positions, "position of the digit", "right")),
        ("Coverage", plots.coverage(table.confidence, right)),
        ("Calibration", plots.reliability(table.confidence, right)),
        ("Digits read", plots.confusion(digits, [*"0123456789", "none"], "digit")),
        ("Lengths read", plots.confusion(length, names, "length")),
    ]


def _photos(scored: Scored) -> list[str]:
    """The most confident errors, and the least confident of the others."""
    order = np.argsort(-scored.table.confidence, kind="stable")
    is_right = scored.table.is_right[order]
    return [
        page.gallery(
            f"{title} ({min(PICTURES, len(rows))} of {len(rows):,})",
            [_picture(scored, row) for row in rows[:PICTURES]],
        )
        for title, rows in (
            ("Most confident errors", order[~is_right]),
            ("Least confident hits", order[is_right][::-1]),
        )
    ]


def _picture(scored: Scored, row: int) -> str:
    table = scored.table
    truth, prediction = labels.shown(table.truths[row]), labels.shown(table.predictions[row])
    caption = prediction if truth == prediction else f"{prediction}, is {truth}"
    note = f"{table.confidence[row]:.1%} · {table.names[row]}"
    return page.picture(scored.split.images[row], caption, note, is_wrong=truth != prediction)
