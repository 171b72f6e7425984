"""Statistics of a data set, and suspicious records, for people to see before training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from svhn_jax import labels
from svhn_jax.data.records import Skipped

QUANTILES = (0.0, 0.01, 0.5, 0.99, 1.0)
# Measured on the 46,470 published train and test numbers:
SMALL_PIXELS = 10  # of height; one number has less
NARROW, WIDE = 0.14, 1.12  # width of a digit / height; one number in a thousand is beyond each


def summary(
    title: str,
    names: Sequence[str],
    targets: np.ndarray,
    boxes: np.ndarray,
    sizes: np.ndarray,
    skipped: Sequence[Skipped] = (),
) -> dict[str, Any]:
    """What there is to see of N photos and of skipped records, as JSON values.

    Args:
      names, targets: of each photo; labels int32[N, 1 + D].
      boxes: float[N, 4], the number in each photo: left, top, width, height in pixels.
      sizes: int[N, 2], width and height of each photo in pixels.
    """
    return {
        "title": title,
        "numbers": len(targets),
        "lengths": lengths(targets).tolist(),
        "digits_by_position": positions(targets).tolist(),
        "quantiles": quantiles(boxes, sizes),
        "skipped": [one._asdict() for one in skipped],
        "suspicious": {
            why: [names[row] for row in rows]
            for why, rows in suspicious(targets, boxes, sizes).items()
        },
    }


def lengths(targets: np.ndarray) -> np.ndarray:
    """int[D + 2]: how many labels int32[N, 1 + D] have each length, 0 to D and more."""
    classes = labels.length_classes(labels.max_digits_of(targets))
    return np.bincount(targets[:, 0], minlength=classes)


def positions(targets: np.ndarray) -> np.ndarray:
    """int[D, 11]: the count of each digit, and of the blank, at each position."""
    return (targets[:, 1:, None] == np.arange(labels.DIGIT_CLASSES)).sum(axis=0)


def quantiles(boxes: np.ndarray, sizes: np.ndarray) -> dict[str, list[float]]:
    """Minimum, 1 %, median, 99 % and maximum of photo and number sizes, see `summary`."""
    if not len(sizes):
        return {}
    columns = {
        "photo width, pixels": sizes[:, 0],
        "photo height, pixels": sizes[:, 1],
        "number width, pixels": boxes[:, 2],
        "number height, pixels": boxes[:, 3],
        "number width / height": boxes[:, 2] / boxes[:, 3],
        "number height / photo height": boxes[:, 3] / sizes[:, 1],
    }
    return {name: np.quantile(values, QUANTILES).tolist() for name, values in columns.items()}


def suspicious(targets: np.ndarray, boxes: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """Suspicious rows, int[...] for each reason; most of them are correct nevertheless."""
    right, bottom = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    shape = boxes[:, 2] / boxes[:, 3] / np.maximum(1, targets[:, 0])
    # Skip numbers that run downwards or have more digits than the label: their shape says nothing.
    max_digits = labels.max_digits_of(targets)
    is_row = (targets[:, 0] <= max_digits) & (boxes[:, 2] >= 0.3 * boxes[:, 3])
    is_past = (boxes[:, :2] < 0).any(axis=1) | (right > sizes[:, 0]) | (bottom > sizes[:, 1])
    reasons = {
        "its box reaches past the photo's edge": is_past,
        f"more than {max_digits} digits": targets[:, 0] > max_digits,
        f"lower than {SMALL_PIXELS} pixels": boxes[:, 3] < SMALL_PIXELS,
        "very narrow for so many digits": is_row & (shape < NARROW),
        "very wide for so few digits": is_row & (shape > WIDE),
    }
    return {reason: np.flatnonzero(rows) for reason, rows in reasons.items() if rows.any()}
