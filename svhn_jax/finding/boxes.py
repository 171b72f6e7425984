"""Detected digits, their boxes as rows (left, top, right, bottom): overlap, merging."""

from typing import NamedTuple

import numpy as np

SAME = 0.4  # IoU from which two detections mean one digit
INSIDE = 0.7  # share of the smaller box inside the other, likewise
VOTES = 0.55  # IoU from which a detection counts towards the box of the best one
MOST = 60


class Digits(NamedTuple):
    """Digits in a photo.

    Attributes:
      boxes: float[n, 4], pixels.
      scores: float[n], about the IoU expected with the true box.
      classes: float[n, 10], probabilities.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def take(self, rows: np.ndarray) -> "Digits":
        return Digits(*(part[rows] for part in self))


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float[n, m]: intersection over union of boxes [n, 4] and [m, 4]; 0 where there is no area."""
    shared = _shared(boxes, others)
    total = areas(boxes)[:, None] + areas(others)[None] - shared
    return np.asarray(shared / np.maximum(total, 1e-9))


def areas(boxes: np.ndarray) -> np.ndarray:
    """float[n], square pixels; 0 where right is not beyond left, or bottom not below top."""
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=-1))


def merge(found: Digits) -> Digits:
    """One detection for each digit, at most MOST, best first: non-maximum suppression with voting.

    Boxes and classes of a kept detection are means over those that overlap it most, weighted by
    score (Gidaris & Komodakis 2015, arXiv:1505.01749): the pyramid sees a digit at several scales.
    """
    found = found.take(np.argsort(-found.scores, kind="stable"))
    is_left = np.ones(len(found.scores), bool)
    kept: list[int] = []
    means: list[np.ndarray] = []
    while is_left.any() and len(kept) < MOST:
        best = int(is_left.argmax())
        box = found.boxes[best : best + 1]
        overlap, shared = iou(box, found.boxes)[0], _shared(box, found.boxes)[0]
        inside = shared / np.maximum(np.minimum(areas(box), areas(found.boxes)), 1e-9)
        overlap[best] = 1.0  # also where the box has no area
        votes = found.scores * (overlap >= VOTES)
        kept.append(best)
        means.append(votes / max(votes.sum(), 1e-9))
        is_left &= (overlap < SAME) & (inside < INSIDE)
    weights = np.array(means).reshape(len(kept), len(found.scores))
    return Digits(weights @ found.boxes, found.scores[np.array(kept, int)], weights @ found.classes)


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=-1))
