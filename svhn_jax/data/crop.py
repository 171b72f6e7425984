"""From a photo and its boxes to the square image the model reads."""

import numpy as np
from PIL import Image


def union(boxes: np.ndarray) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the smallest rectangle around float[n, 4] (left, top, width, height)."""
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def expand(box: tuple[float, float, float, float], margin: float) -> tuple[float, float, float, float]:
    """The box grown about its centre by `margin` of its own width and height (0.3: 1.3 times as wide and high)."""
    left, top, right, bottom = box
    dx, dy = (right - left) * margin / 2, (bottom - top) * margin / 2
    return left - dx, top - dy, right + dx, bottom + dy


def crop_number(photo: np.ndarray, boxes: np.ndarray, *, margin: float, size: int) -> np.ndarray:
    """The number of a photo as a square image, its aspect not kept (Goodfellow et al. 2014, section 5.1).

    Where the grown box leaves the photo, the photo's edge pixels are repeated: the number then
    stands where it stands in every other crop, and at the same scale, and no false edge appears.

    Args:
      photo: uint8[H, W, 3].
      boxes: float[n, 4], (left, top, width, height) in pixels.
      margin: how much the union of the boxes grows, as in `expand`.
      size: side of the result in pixels.

    Returns:
      uint8[size, size, 3], resized with an antialiasing bicubic filter.

    Raises:
      ValueError: the boxes lie outside the photo.
    """
    height, width = photo.shape[:2]
    number = union(boxes)
    if number[0] >= width or number[1] >= height or number[2] <= 0 or number[3] <= 0:
        raise ValueError(f"its boxes lie outside the photo of {width} x {height} pixels")
    # A box may claim millions of pixels beyond the photo; one photo size on each side bounds the work.
    limits = (-width, -height, 2 * width, 2 * height)
    left, top, right, bottom = (
        min(max(value, limits[axis]), limits[2 + axis])
        for value, axis in zip(expand(number, margin), (0, 1, 0, 1), strict=True)
    )
    x0, y0 = min(0, int(np.floor(left))), min(0, int(np.floor(top)))
    x1, y1 = max(width, int(np.ceil(right))), max(height, int(np.ceil(bottom)))
    if (x0, y0, x1, y1) != (0, 0, width, height):
        photo = np.pad(photo, ((-y0, y1 - height), (-x0, x1 - width), (0, 0)), mode="edge")
    image = Image.fromarray(photo)
    box = (left - x0, top - y0, right - x0, bottom - y0)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def is_off_photo(shape: tuple[int, ...], boxes: np.ndarray) -> bool:
    """Whether any box reaches past the edge of a photo of shape (H, W, ...)."""
    left, top, right, bottom = union(boxes)
    return left < 0 or top < 0 or right > shape[1] or bottom > shape[0]
