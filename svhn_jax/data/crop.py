"""From a photo and the box around its number to the square image the model reads."""

import dataclasses
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.errors import InputError

MAX_PIXELS = 2**24  # of a photo and the edges added to it; published ones stay below a third of it
GAP = 4  # times the crop's side: from 3 on, says Pillow of its reducing_gap, nobody sees the difference


class Box(NamedTuple):
    """A rectangle in pixels; the photo's corner is at (0, 0)."""

    left: float
    top: float
    right: float
    bottom: float

    def left_top_width_height(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right - self.left, self.bottom - self.top


@dataclasses.dataclass(frozen=True)
class CropRule:
    """How `crop_number` makes crops. A model reads the crops of one rule only.

    Attributes:
      size: side of a crop, pixels.
      margin: how much the number's box grows, as in `expand`.
      border: what stands where the grown box leaves the photo ("edge": its edge pixels, repeated).
      filter: of the resizing.
      color: what the channels are.
    """

    size: int
    margin: float
    border: str = "edge"
    filter: str = "bicubic"
    color: str = "RGB"


def require_same_rule(folder: str | Path, found: CropRule, wanted: CropRule, wanted_by: str) -> None:
    """Raises InputError where the data set in `folder` has crops of another rule than `wanted`, the rule of `wanted_by`."""
    names = [item.name for item in dataclasses.fields(CropRule)]
    differing = [name for name in names if getattr(found, name) != getattr(wanted, name)]
    if differing:
        here, there = (", ".join(f"{name} {getattr(rule, name)}" for name in differing) for rule in (found, wanted))
        raise InputError(
            f"{folder}: its crops have {here}, but {wanted_by} has {there}; "
            f"prepare that data set again with --size {wanted.size} --margin {wanted.margin:g}"
        )


def union(boxes: np.ndarray) -> Box | None:
    """The smallest rectangle around float[n, 4] (left, top, width, height); None where n is 0."""
    if not len(boxes):
        return None
    rows = boxes.tolist()  # for so few, numpy's own min and max take five times as long
    return Box(
        float(min(left for left, _, _, _ in rows)),
        float(min(top for _, top, _, _ in rows)),
        float(max(left + width for left, _, width, _ in rows)),
        float(max(top + height for _, top, _, height in rows)),
    )


def number_in(boxes: np.ndarray, width: int, height: int) -> Box:
    """The union of a number's boxes; the whole photo where it has none."""
    return union(boxes) or Box(0, 0, width, height)


def is_outside(number: Box, width: int, height: int) -> bool:
    """Whether a photo of that size shows nothing of the number."""
    return number.left >= width or number.top >= height or number.right <= 0 or number.bottom <= 0


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
        if is_outside(number, width, height):
            raise ValueError(f"its boxes lie outside the photo of {width} x {height} pixels")
        box = expand(number, margin)
        # A box may claim millions of pixels beyond the photo; one photo size on each side bounds the work.
        box = Box(max(box.left, -width), max(box.top, -height), min(box.right, 2 * width), min(box.bottom, 2 * height))
        if (max(box.right, width) - min(box.left, 0)) * (max(box.bottom, height) - min(box.top, 0)) > MAX_PIXELS:
            photo, box = _reduce(photo, box, GAP * size)
            width, height = photo.size
    # How far the box leaves the photo on each side, in whole pixels.
    x0, y0 = max(0, math.ceil(-box.left)), max(0, math.ceil(-box.top))
    x1, y1 = max(0, math.ceil(box.right) - width), max(0, math.ceil(box.bottom) - height)
    if x0 or y0 or x1 or y1:
        photo = Image.fromarray(_repeat_edges(np.asarray(photo), x0, y0, x1, y1))
    inside = (box.left + x0, box.top + y0, box.right + x0, box.bottom + y0)
    return np.asarray(photo.resize((size, size), Image.Resampling.BICUBIC, box=inside))


def _reduce(photo: Image.Image, box: Box, side: int) -> tuple[Image.Image, Box]:
    """A photo made smaller by averaging whole pixels, and its box, which keeps at least `side` pixels each way."""
    dx = max(1, int((box.right - box.left) // side))
    dy = max(1, int((box.bottom - box.top) // side))
    return photo.reduce((dx, dy)), Box(box.left / dx, box.top / dy, box.right / dx, box.bottom / dy)


def _repeat_edges(pixels: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """numpy.pad's mode "edge" on uint8[H, W, 3], at a fraction of its time: a third of the published numbers need it."""
    height, width = pixels.shape[:2]
    padded = np.empty((top + height + bottom, left + width + right, 3), np.uint8)
    rows = padded[top : top + height]
    rows[:, left : left + width] = pixels
    rows[:, :left], rows[:, left + width :] = pixels[:, :1], pixels[:, -1:]
    padded[:top], padded[top + height :] = rows[:1], rows[-1:]
    return padded
