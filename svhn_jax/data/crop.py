"""From a photo and the box around its number to the square image the model reads."""

from typing import NamedTuple

import numpy as np
from PIL import Image


class Box(NamedTuple):
    """A rectangle in pixels; the photo's corner is at (0, 0)."""

    left: float
    top: float
    right: float
    bottom: float


def union(boxes: np.ndarray) -> Box | None:
    """The smallest rectangle around float[n, 4] (left, top, width, height); None where n is 0."""
    if not len(boxes):
        return None
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def expand(box: Box, margin: float) -> Box:
    """The box grown about its centre by `margin` of its own width and height (0.3: 1.3 times as wide and high)."""
    dx, dy = (box.right - box.left) * margin / 2, (box.bottom - box.top) * margin / 2
    return Box(box.left - dx, box.top - dy, box.right + dx, box.bottom + dy)


def crop_number(photo: Image.Image, number: Box | None, *, margin: float, size: int) -> np.ndarray:
    """The number of a photo as a square image, its aspect not kept (Goodfellow et al. 2014, section 5.1).

    Where the grown box leaves the photo, the photo's edge pixels are repeated: the number then
    stands where it stands in every other crop, and at the same scale, and no false edge appears.

    Args:
      photo: an RGB image.
      number: the union of the digits' boxes; None to take the whole photo as it is.
      margin: how much the number's box grows, as in `expand`.
      size: side of the result in pixels.

    Returns:
      uint8[size, size, 3], resized with an antialiasing bicubic filter.

    Raises:
      ValueError: the box lies outside the photo.
    """
    width, height = photo.size
    box = Box(0, 0, width, height)
    if number is not None:
        if number.left >= width or number.top >= height or number.right <= 0 or number.bottom <= 0:
            raise ValueError(f"its boxes lie outside the photo of {width} x {height} pixels")
        box = expand(number, margin)
        # A box may claim millions of pixels beyond the photo; one photo size on each side bounds the work.
        box = Box(max(box.left, -width), max(box.top, -height), min(box.right, 2 * width), min(box.bottom, 2 * height))
    x0, y0 = min(0, int(np.floor(box.left))), min(0, int(np.floor(box.top)))
    x1, y1 = max(width, int(np.ceil(box.right))), max(height, int(np.ceil(box.bottom)))
    if (x0, y0, x1, y1) != (0, 0, width, height):
        rows, columns = np.arange(y0, y1).clip(0, height - 1), np.arange(x0, x1).clip(0, width - 1)
        photo = Image.fromarray(np.asarray(photo)[rows][:, columns])
    inside = (box.left - x0, box.top - y0, box.right - x0, box.bottom - y0)
    return np.asarray(photo.resize((size, size), Image.Resampling.BICUBIC, box=inside))
