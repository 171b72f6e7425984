"""Boxes as rows (left, top, right, bottom) of arrays: overlap, and candidates merged where they mean the same number."""

import numpy as np

SAME = 0.4  # IoU from which two candidates mean one number
VOTES = 0.6  # IoU from which a candidate's box counts towards the box of the best one


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float[n, m]: intersection over union of boxes float[n, 4] with others float[m, 4]; 0 for boxes without area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    total = areas(boxes)[:, None] + areas(others)[None] - shared
    return np.asarray(shared / np.maximum(total, 1e-9))


def areas(boxes: np.ndarray) -> np.ndarray:
    """float[n], square pixels; 0 where right is not beyond left, or bottom not below top."""
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=-1))


def merge(boxes: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The best candidates, one for each number: non-maximum suppression with box voting.

    The box of a kept candidate is the mean of the boxes that overlap it most, weighted by their scores
    (Gidaris & Komodakis 2015, arXiv:1505.01749, section 4); the pyramid sees a number at several scales.

    Args:
      boxes: float[n, 4].
      scores: float[n], at least 0.
      most: number of candidates kept at most.

    Returns:
      float[k, 4] and float[k], highest score first; of equal scores the one that came first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept: list[int] = []
    means: list[np.ndarray] = []
    is_left = np.ones(len(boxes), bool)
    while is_left.any() and len(kept) < most:
        best = int(is_left.argmax())
        overlap = iou(boxes[best : best + 1], boxes)[0]
        overlap[best] = 1.0  # also where the box has no area
        votes = scores * (overlap >= VOTES)
        votes[best] = max(votes[best], 1e-9)
        kept.append(best)
        means.append((boxes * votes[:, None]).sum(axis=0) / votes.sum())
        is_left &= overlap < SAME
    return np.array(means).reshape(-1, 4), scores[kept]
