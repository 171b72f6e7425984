"""A photo at several scales, on canvases of a few fixed shapes, and the way back from a canvas to the photo."""

from typing import NamedTuple

import numpy as np
from PIL import Image

GREY = 128  # of a canvas outside the photo
CANVAS = 128  # side of a small canvas
SMALL = (128, 64, 32)  # longest sides, pixels, on one batch of small canvases
LARGE = (256, 512, 1024)  # longest sides, each on a canvas of its own
ENLARGED = (
    1.5  # a photo is not enlarged more than this for a large canvas: that would show nothing new
)
SHORTER = 0.75  # sides of a large canvas: phones take photos of 4:3


class Level(NamedTuple):
    """A canvas uint8[H, W, 3] with the photo in its upper left corner, and the photo's scale on it, by axis."""

    canvas: np.ndarray
    scale: tuple[float, float]

    def to_photo(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes float[n, 4] (left, top, right, bottom) on the canvas, in pixels of the photo."""
        return boxes / np.array([*self.scale, *self.scale])


def levels(photo: Image.Image) -> list[list[Level]]:
    """The photo's pyramid: levels whose canvases have the same shape stand in one list, the smallest first.

        for group in levels(photo):
            canvases = np.stack([level.canvas for level in group])  # uint8[n, H, W, 3]

    Args:
      photo: RGB, of any size.
    """
    longest = max(photo.size)
    groups = []
    source = photo
    for side in reversed([side for side in LARGE if side <= ENLARGED * longest]):
        shape = (side, side) if side == LARGE[0] else _shape(photo.size, side)
        source = _fitted(
            source, _size(photo.size, shape)
        )  # each level is made from the one before, which is larger
        groups.append([_level(photo, source, shape)])
    smalls = []
    for side in SMALL:
        source = _fitted(source, _size(photo.size, (side, side)))
        smalls.append(_level(photo, source, (CANVAS, CANVAS)))
    return [smalls, *reversed(groups)]


def _shape(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a large canvas, lying or standing as the photo."""
    shorter = round(side * SHORTER)
    return (shorter, side) if size[0] >= size[1] else (side, shorter)


def _size(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """The photo's size (width, height) where it just fits into (height, width)."""
    scale = min(shape[1] / size[0], shape[0] / size[1])
    return max(1, min(shape[1], round(size[0] * scale))), max(
        1, min(shape[0], round(size[1] * scale))
    )


def _fitted(photo: Image.Image, size: tuple[int, int]) -> Image.Image:
    return photo.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.5)


def _level(photo: Image.Image, resized: Image.Image, shape: tuple[int, int]) -> Level:
    canvas = np.full((*shape, 3), GREY, np.uint8)
    canvas[: resized.height, : resized.width] = np.asarray(resized)
    return Level(canvas, (resized.width / photo.width, resized.height / photo.height))
