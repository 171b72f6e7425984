"""Scores of predictions, in numpy: intervals, coverage, calibration, confusion.

All take whole arrays, a row for each photo. "Right" means the length and every digit.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

COVERAGE_TARGETS = (0.98, 0.99)
CALIBRATION_BINS = 15


class Interval(NamedTuple):
    """A share with the bounds of its confidence interval."""

    share: float
    low: float
    high: float


def wilson_interval(right: int, total: int, level: float = 0.95) -> Interval:
    """The share right / total with its Wilson score interval (Wilson 1927); nan for a total of 0.

    >>> wilson_interval(482, 500)
    Interval(share=0.964, low=0.9438..., high=0.9770...)
    """
    if not total:
        return Interval(float("nan"), float("nan"), float("nan"))
    bounds = stats.binomtest(right, total).proportion_ci(level, method="wilson")
    return Interval(right / total, float(bounds.low), float(bounds.high))


def coverage(confidence: np.ndarray, is_right: np.ndarray, accuracy: float) -> float:
    """The greatest share of photos that a threshold on the confidence keeps at this accuracy.

    Goodfellow et al. 2014, section 4. Photos of equal confidence are kept or left out together;
    0.0 if no threshold reaches the accuracy.
    """
    kept, accuracies = coverage_curve(confidence, is_right)
    enough = accuracies >= accuracy
    return float(kept[enough][-1]) if enough.any() else 0.0


def coverage_curve(confidence: np.ndarray, is_right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each threshold, the greatest first: the share of photos kept, their accuracy."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    is_last_of_tie = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
    counts = np.arange(1, len(ranked) + 1)
    accuracies = np.cumsum(is_right[order]) / counts
    return (counts / max(1, len(ranked)))[is_last_of_tie], accuracies[is_last_of_tie]


class CalibrationBin(NamedTuple):
    """Photos whose confidence lies in one bin: count, mean confidence, accuracy."""

    photos: int
    confidence: float
    accuracy: float


def calibration_bins(
    confidence: np.ndarray, is_right: np.ndarray, bins: int = CALIBRATION_BINS
) -> list[CalibrationBin]:
    """The reliability diagram (Guo et al. 2017, arXiv:1706.04599): bins of equal width."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        CalibrationBin(
            int(here.sum()), float(confidence[here].mean()), float(is_right[here].mean())
        )
        for here in (index == i for i in np.unique(index))
    ]


def calibration_error(
    confidence: np.ndarray, is_right: np.ndarray, bins: int = CALIBRATION_BINS
) -> float:
    """The expected calibration error (Guo et al. 2017, equation 3)."""
    rows = calibration_bins(confidence, is_right, bins)
    gaps = sum(row.photos * abs(row.accuracy - row.confidence) for row in rows)
    return gaps / max(1, len(confidence))


def confusion(truths: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """int[classes, classes]: how often each class (row) was read as each class (column).

    scores.confusion(table.truths[:, 1:], table.predictions[:, 1:], DIGIT_CLASSES)  # 10: no digit
    """
    pairs = truths.ravel().astype(np.int64) * classes + predictions.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
