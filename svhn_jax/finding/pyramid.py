"""A photo at several scales, on canvases of a few fixed shapes."""

from typing import NamedTuple

import numpy as np
from PIL import Image

GREY = 128  # of a canvas outside the photo
# Longest side of a canvas, and longest sides of the photo on a batch of such canvases. Large ones
# are 4:3, lying or standing, as phones take photos.
CANVASES = ((1024, (1024,)), (512, (512, 384)), (256, (256, 192)), (128, (128, 96, 64)))
SQUARE = 256  # canvases up to this side are square
ENLARGED = 3.0  # a photo is not enlarged more than this
SHORTER = 0.75


class Level(NamedTuple):
    """A canvas uint8[H, W, 3], the photo in its upper left corner; its scale there, by axis."""

    canvas: np.ndarray
    scale: tuple[float, float]


def levels(photo: Image.Image) -> list[list[Level]]:
    """The RGB photo's pyramid: lists of levels whose canvases have one shape, the largest first."""
    groups, source = [], photo
    for canvas, sides in CANVASES:
        group = []
        for side in sides:
            if side > ENLARGED * max(photo.size) and side > CANVASES[-1][0]:
                continue
            limits = _shape(photo.size, side)
            scale = min(limits[1] / photo.width, limits[0] / photo.height)
            size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
            if size[0] > source.width:  # each level is made from the one before, if that is larger
                source = photo
            source = source.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.5)
            pixels = np.full((*_shape(photo.size, canvas), 3), GREY, np.uint8)
            pixels[: size[1], : size[0]] = np.asarray(source)
            group.append(Level(pixels, (size[0] / photo.width, size[1] / photo.height)))
        if group:
            groups.append(group)
    return groups


def _shape(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a canvas for a photo of `size` (width, height)."""
    if side <= SQUARE:
        return side, side
    shorter = round(side * SHORTER)
    return (shorter, side) if size[0] >= size[1] else (side, shorter)
