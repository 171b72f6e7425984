"""Finds the box of a number whose digits are known, in a photo without boxes.

The number is where a trained network reads it with the greatest probability. A network that was trained on shifted and
scaled crops reads well over a range of boxes, so the box is the mean of the best ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax import labels
from svhn_jax.data.crop import Box, crop_number
from svhn_jax.inference.reader import Reader

# Chosen once, by eye on 64 photos; docs/experiments.md has how well the boxes agree with published ones.
HEIGHTS = (0.3, 0.42, 0.58, 0.8)  # of the number, as a share of the photo's height
ASPECTS = (0.4, 0.55, 0.75)  # width of the number over its height, for each digit
COLUMNS, ROWS = 5, 3  # places of the number in the photo
SPREADS = (0.12, 0.06, 0.03)  # of the later rounds, as a share of the best box's height and width
DRAWS = 24  # boxes of each later round
PLATEAU = 0.5  # nats below the best: boxes as good as the best, for the mean


class Found(NamedTuple):
    """The box of a number, and the log-probability, in nats, of its label under that box."""

    box: Box
    log_p: float


def find_boxes(
    reader: Reader, photos: Sequence[tuple[Image.Image, str]], seed: int = 0
) -> list[Found]:
    """For each photo and its number, the box under which the network reads that number with the greatest probability.

    Each photo's result is a function of (photo, number, seed) alone. All photos are held in memory: give a few at a time.

        [found] = find_boxes(Reader("checkpoints/demo"), [(photo, "1024")])

    Args:
      reader: a trained network.
      photos: RGB photos, each with its number as text of one or more digits.
    """
    if not photos:
        return []
    rngs = [np.random.default_rng(seed) for _ in photos]
    tried = [_grid(photo.size, len(number)) for photo, number in photos]
    scores = _scores(reader, photos, tried)
    for spread in SPREADS:
        means = [_mean(*one) for one in zip(tried, scores, strict=True)]
        fresh = [_around(rng, mean, spread) for rng, mean in zip(rngs, means, strict=True)]
        fresh_scores = _scores(reader, photos, fresh)
        tried = [np.concatenate(pair) for pair in zip(tried, fresh, strict=True)]
        scores = [np.concatenate(pair) for pair in zip(scores, fresh_scores, strict=True)]
    final = [_mean(*one)[None] for one in zip(tried, scores, strict=True)]
    scored = zip(final, _scores(reader, photos, final), strict=True)
    return [Found(_to_box(box[0]), float(score[0])) for box, score in scored]


def _grid(size: tuple[int, int], digits: int) -> np.ndarray:
    """float[n, 4]: (centre x, centre y, log width, log height) of boxes of many sizes, all over a photo."""
    width, height = size
    boxes = []
    for share in HEIGHTS:
        for aspect in ASPECTS:
            h = share * height
            w = min(aspect * digits * h, 0.95 * width)
            for x in np.linspace(w / 2, width - w / 2, COLUMNS):
                boxes += [
                    (x, y, np.log(w), np.log(h)) for y in np.linspace(h / 2, height - h / 2, ROWS)
                ]
    return np.array(boxes)


def _around(rng: np.random.Generator, box: np.ndarray, spread: float) -> np.ndarray:
    """float[DRAWS, 4]: random boxes near one."""
    scale = np.array([np.exp(box[2]), np.exp(box[3]), 1.0, 1.0]) * spread
    return box + rng.normal(size=(DRAWS, 4)) * scale


def _mean(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """float[4]: the mean of the boxes on the plateau around the best, those near the best in place alone."""
    best = boxes[scores.argmax()]
    sides = np.exp(best[[2, 3]])
    is_near = (np.abs(boxes[:, :2] - best[:2]) < 0.5 * sides).all(axis=1)
    chosen = is_near & (scores > scores.max() - PLATEAU)
    return np.asarray(boxes[chosen].mean(axis=0))


def _scores(
    reader: Reader, photos: Sequence[tuple[Image.Image, str]], boxes: list[np.ndarray]
) -> list[np.ndarray]:
    """For each photo, the log-probability of its number under each of its boxes."""
    crops, truths = [], []
    for (photo, number), rows in zip(photos, boxes, strict=True):
        crops += [
            crop_number(photo, _to_box(row), margin=reader.crop.margin, size=reader.crop.size)
            for row in rows
        ]
        truths += [labels.encode_text(number, reader.max_digits)] * len(rows)
    values = reader.log_p(np.stack(crops), np.stack(truths))
    return np.split(values, np.cumsum([len(rows) for rows in boxes])[:-1])


def _to_box(row: np.ndarray) -> Box:
    x, y = row[:2].tolist()
    dx, dy = (np.exp(row[2:]) / 2).tolist()
    return Box(x - dx, y - dy, x + dx, y + dy)
