"""Finds the box of a number whose digits are known, in a photo without boxes.

The number is where a trained network reads it with the greatest probability. A network that was
trained on shifted and scaled crops reads well over a range of boxes, so the box is the mean of the
best ones.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax import labels
from svhn_jax.data.crop import Box, crop_number
from svhn_jax.inference.reader import Reader

# Chosen once, by eye on 64 photos (docs/experiments.md).
HEIGHTS = (0.3, 0.42, 0.58, 0.8)  # of the number, as a share of the photo's height
ASPECTS = (0.4, 0.55, 0.75)  # width of the number over its height, for each digit
COLUMNS, ROWS = 5, 3  # places of the number in the photo
SPREADS = (0.12, 0.06, 0.03)  # of the later rounds, as a share of the best box's height and width
DRAWS = 24  # boxes of each later round
PLATEAU = 0.5  # nats below the best: boxes as good as the best, for the mean


class NumberBox(NamedTuple):
    """The box of a number, and the log-probability, in nats, of its label under that box."""

    box: Box
    log_p: float


def find_box(reader: Reader, photo: Image.Image, number: str, seed: int = 0) -> NumberBox:
    """The box under which the network reads a number with the greatest probability.

        find_box(Reader("checkpoints/demo"), photo, "1024").box

    Args:
      reader: a trained network.
      photo: RGB.
      number: one or more digits.
    """
    rng = np.random.default_rng(seed)
    tried = _grid(photo.size, len(number))
    log_p = _log_p(reader, photo, number, tried)
    for spread in SPREADS:
        fresh = _around(rng, _mean(tried, log_p), spread)
        log_p = np.concatenate([log_p, _log_p(reader, photo, number, fresh)])
        tried = np.concatenate([tried, fresh])
    final = _mean(tried, log_p)
    return NumberBox(_to_box(final), float(_log_p(reader, photo, number, final[None])[0]))


def _grid(size: tuple[int, int], digits: int) -> np.ndarray:
    """float[n, 4]: (centre x, centre y, log width, log height) of boxes all over a photo."""
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


def _mean(boxes: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """float[4]: the mean of the boxes that are near the best one and nearly as good."""
    best = boxes[log_p.argmax()]
    is_near = (np.abs(boxes[:, :2] - best[:2]) < 0.5 * np.exp(best[2:])).all(axis=1)
    return np.asarray(boxes[is_near & (log_p > log_p.max() - PLATEAU)].mean(axis=0))


def _log_p(reader: Reader, photo: Image.Image, number: str, boxes: np.ndarray) -> np.ndarray:
    """float[n]: the log-probability of the number under each of the boxes."""
    margin, size = reader.crop.margin, reader.crop.size
    crops = [crop_number(photo, _to_box(row), margin=margin, size=size) for row in boxes]
    label = labels.encode_text(number, reader.max_digits)
    return reader.log_p(np.stack(crops), np.tile(label, (len(crops), 1)))


def _to_box(row: np.ndarray) -> Box:
    x, y = row[:2].tolist()
    dx, dy = (np.exp(row[2:]) / 2).tolist()
    return Box(x - dx, y - dy, x + dx, y + dy)
