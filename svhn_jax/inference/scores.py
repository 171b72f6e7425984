"""Scores of predictions, in numpy: intervals, coverage, calibration, confusion, edit distance, paired comparison.

All take whole arrays of one split, a row for each photo, and know nothing of networks. "Right" means the whole number:
its length and every digit.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from svhn_jax.labels import BLANK, DIGIT_CLASSES, length_classes, max_digits_of

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

    Args:
      right: count, at most total.
      total: count.
      level: of confidence, between 0 and 1.
    """
    if not total:
        return Interval(float("nan"), float("nan"), float("nan"))
    bounds = stats.binomtest(right, total).proportion_ci(level, method="wilson")
    return Interval(right / total, float(bounds.low), float(bounds.high))


def coverage(confidence: np.ndarray, is_right: np.ndarray, accuracy: float) -> float:
    """Coverage at an accuracy (Goodfellow et al. 2014, section 4): the greatest share of photos that can be kept
    by a threshold on the confidence so that at least `accuracy` of those kept are right. 0.0 if no threshold does it.

    Photos of equal confidence are kept or left out together, as a threshold does.

    Args:
      confidence: float[N].
      is_right: bool[N].
      accuracy: wanted share of right numbers among those kept.
    """
    kept, accuracies = coverage_curve(confidence, is_right)
    enough = accuracies >= accuracy
    return float(kept[enough][-1]) if enough.any() else 0.0


def coverage_curve(confidence: np.ndarray, is_right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each distinct threshold, the greatest first: the share of photos kept, and the accuracy among them."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    is_last_of_tie = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
    counts = np.arange(1, len(ranked) + 1)
    accuracies = np.cumsum(is_right[order]) / counts
    return (counts / max(1, len(ranked)))[is_last_of_tie], accuracies[is_last_of_tie]


class CalibrationBin(NamedTuple):
    """Photos whose confidence lies in one of equally wide bins."""

    photos: int
    confidence: float  # mean
    accuracy: float


def calibration_bins(
    confidence: np.ndarray, is_right: np.ndarray, bins: int = CALIBRATION_BINS
) -> list[CalibrationBin]:
    """The reliability diagram (Guo et al. 2017, arXiv:1706.04599): bins of equal width that hold a photo, ascending."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = [(confidence[index == i], is_right[index == i]) for i in range(bins)]
    return [
        CalibrationBin(len(p), float(p.mean()), float(right.mean())) for p, right in rows if len(p)
    ]


def calibration_error(
    confidence: np.ndarray, is_right: np.ndarray, bins: int = CALIBRATION_BINS
) -> float:
    """The expected calibration error (Guo et al. 2017, equation 3): the mean gap between confidence and accuracy."""
    rows = calibration_bins(confidence, is_right, bins)
    return sum(row.photos * abs(row.accuracy - row.confidence) for row in rows) / max(
        1, len(confidence)
    )


def counts_by_group(is_right: np.ndarray, groups: np.ndarray) -> dict[int, tuple[int, int]]:
    """For each value of groups: (number right, number in all)."""
    return {
        int(g): (int(is_right[groups == g].sum()), int((groups == g).sum()))
        for g in np.unique(groups)
    }


def length_confusion(truths: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """int[D + 2, D + 2]: how many numbers of each true length (row) were read with each length (column).

    Args:
      truths, predictions: labels int[N, 1 + D].
    """
    return _confusion(truths[:, 0], predictions[:, 0], length_classes(max_digits_of(truths)))


def digit_confusion(truths: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """int[11, 11]: how often each digit (row) was read as each (column) at the same position; 10 stands for no digit."""
    return _confusion(truths[:, 1:], predictions[:, 1:], DIGIT_CLASSES)


def _confusion(truths: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    pairs = truths.ravel().astype(np.int64) * classes + predictions.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def edit_distances(truths: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """int[N]: the Levenshtein distance of each number to its prediction: insertions, deletions and substitutions of digits.

    All rows at once (Wagner and Fischer 1974). Digits past max_digits are not in a label, and do not count.

    Args:
      truths, predictions: labels int[N, 1 + D].
    """
    a, b, sizes = truths[:, 1:], predictions[:, 1:], max_digits_of(truths) + 1
    table = np.zeros((sizes, sizes, len(a)), int)
    table[:, 0] = table[0, :] = np.arange(sizes)[:, None]
    for i in range(1, sizes):
        for j in range(1, sizes):
            substituted = table[i - 1, j - 1] + (a[:, i - 1] != b[:, j - 1])
            table[i, j] = np.minimum(np.minimum(table[i - 1, j], table[i, j - 1]) + 1, substituted)
    return table[(a != BLANK).sum(axis=1), (b != BLANK).sum(axis=1), np.arange(len(a))]


class Paired(NamedTuple):
    """Two systems on the same photos."""

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: Interval  # accuracy of the second less that of the first
    p_value: float  # McNemar's exact test, two-sided


def compare(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Paired:
    """Compares which photos two systems read right: McNemar's exact test (1947) and the paired difference in accuracy.

    The interval of the difference is Wald's with the variance of paired shares.

    Args:
      first, second: bool[N], the same photos in the same order; N at least 1.
      level: of confidence of the interval.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant, n = only_first + only_second, len(first)
    p_value = float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    difference = (only_second - only_first) / n
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(max(0.0, discordant / n - difference**2) / n)
    interval = Interval(difference, difference - half, difference + half)
    return Paired(
        int((first & second).sum()),
        only_first,
        only_second,
        int((~first & ~second).sum()),
        interval,
        p_value,
    )
