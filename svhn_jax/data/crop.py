"""Crops the number out of a photo, to the square image that the model reads."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.checked import Checked, within
from svhn_jax.errors import InputError

MAX_PIXELS = 2**24  # of a photo with its repeated edges; the published ones have a third of this
MAX_PIXELS_OFF = 1e6  # of a box's sides from the photo's corner
MIN_SIDE = 1e-3  # pixels; smaller boxes vanish in rounding
SIDES = ("left", "top", "width", "height")  # how a box is written, in files and JSON
GAP = 4  # times the crop's side; Pillow's docs: from 3 on the difference is invisible


class Box(NamedTuple):
    """A rectangle in pixels; (0, 0) is the photo's corner."""

    left: float
    top: float
    right: float
    bottom: float

    def left_top_width_height(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right - self.left, self.bottom - self.top


def box_of(left: float, top: float, width: float, height: float) -> Box:
    """The box of these sides in pixels; ValueError if it is none."""
    for name, value in zip(SIDES, (left, top, width, height), strict=True):
        if not abs(value) <= MAX_PIXELS_OFF:  # nan, too
            raise ValueError(f"{name} is {value:g}, outside any photo")
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ValueError("the box has no width or height")
    return Box(left, top, left + width, top + height)


@dataclasses.dataclass(frozen=True)
class CropRule(Checked):
    """The parameters of `crop_number`. A model reads crops of one rule only.

    Attributes:
      size: side of a crop, pixels.
      margin: how much the number's box is enlarged, as in `expand`.
      border: the pixels outside the photo ("edge": its edge pixels, repeated).
      filter: of the resizing.
      color: of the channels.
    """

    size: Annotated[int, within(1, 512)]
    margin: Annotated[float, within(0, 10)]
    border: Literal["edge"] = "edge"
    filter: Literal["bicubic"] = "bicubic"
    color: Literal["RGB"] = "RGB"


def require_same_rule(
    folder: str | Path, found: CropRule, wanted: CropRule, wanted_by: str
) -> None:
    """Raises InputError if the crops in `folder` have another rule than that of `wanted_by`."""
    ours, theirs = dataclasses.asdict(found), dataclasses.asdict(wanted)
    if names := [name for name in ours if ours[name] != theirs[name]]:
        here, there = (", ".join(f"{n} {rule[n]}" for n in names) for rule in (ours, theirs))
        raise InputError(
            f"{folder}: its crops have {here}, but {wanted_by} has {there}; "
            f"prepare that data set again with --size {wanted.size} --margin {wanted.margin:g}"
        )


def union(boxes: np.ndarray) -> Box | None:
    """The smallest rectangle around float[n, 4] (left, top, width, height); None if n is 0."""
    if not len(boxes):
        return None
    lefts, tops, widths, heights = boxes.T.tolist()  # numpy's min takes five times as long for few
    right = max(left + width for left, width in zip(lefts, widths, strict=True))
    bottom = max(top + height for top, height in zip(tops, heights, strict=True))
    return Box(float(min(lefts)), float(min(tops)), float(right), float(bottom))


def expand(box: Box, margin: float) -> Box:
    """The box with `margin` of its width and height added (0.3: 1.3 times as wide and high)."""
    dx, dy = (box.right - box.left) * margin / 2, (box.bottom - box.top) * margin / 2
    return Box(box.left - dx, box.top - dy, box.right + dx, box.bottom + dy)


def crop_number(photo: Image.Image, number: Box | None, *, margin: float, size: int) -> np.ndarray:
    """Crops the number to a square without keeping its aspect ratio (Goodfellow et al. 2014, 5.1).

        crop_number(photo, union(record.boxes), margin=0.3, size=64)  # uint8[64, 64, 3]

    If the enlarged box leaves the photo, the photo's edge pixels are repeated: so the number has
    the same place and scale in every crop, and no false edge appears.

    Args:
      photo: an RGB image.
      number: the union of the digits' boxes; None for the whole photo without enlargement.
      margin: how much the number's box is enlarged, as in `expand`.
      size: side of the result in pixels.

    Returns:
      uint8[size, size, 3], resized with an antialiasing bicubic filter.

    Raises:
      ValueError: the box lies outside the photo.
    """
    width, height = photo.size
    box = Box(0, 0, width, height)
    if number is not None:
        left, top, right, bottom = number
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            raise ValueError(f"its boxes lie outside the photo of {width} x {height} pixels")
        photo, box = _limited(photo, expand(number, margin), GAP * size)
        width, height = photo.size
    # How far the box leaves the photo on each side, in whole pixels.
    x0, y0 = max(0, math.ceil(-box.left)), max(0, math.ceil(-box.top))
    x1, y1 = max(0, math.ceil(box.right) - width), max(0, math.ceil(box.bottom) - height)
    if x0 or y0 or x1 or y1:
        beyond = ((y0, y1), (x0, x1), (0, 0))
        photo = Image.fromarray(np.pad(np.asarray(photo), beyond, "edge"))
    inside = (box.left + x0, box.top + y0, box.right + x0, box.bottom + y0)
    return np.asarray(photo.resize((size, size), Image.Resampling.BICUBIC, box=inside))


def _limited(photo: Image.Image, box: Box, side: int) -> tuple[Image.Image, Box]:
    """Cuts a box off at one photo size beyond each edge; where that is still more than MAX_PIXELS,
    reduces photo and box by averaging whole pixels, to at least `side` pixels each way."""
    width, height = photo.size
    left, top = max(box.left, -width), max(box.top, -height)
    right, bottom = min(box.right, 2 * width), min(box.bottom, 2 * height)
    if (max(right, width) - min(left, 0)) * (max(bottom, height) - min(top, 0)) <= MAX_PIXELS:
        return photo, Box(left, top, right, bottom)
    dx, dy = max(1, int((right - left) // side)), max(1, int((bottom - top) // side))
    return photo.reduce((dx, dy)), Box(left / dx, top / dy, right / dx, bottom / dy)
