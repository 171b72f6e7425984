"""House-number photos drawn in a millisecond: of the right size, weight and cost to decode, and legible."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

# Rows of a 5 x 7 bitmap font, 0 to 9; the lowest bit is the right-most pixel.
FONT = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)
GLYPHS = np.array(
    [[[row >> bit & 1 for bit in range(4, -1, -1)] for row in rows] for rows in FONT], bool
)
# Standard deviation of the noise, in grey levels, and how much of it a pixel shares with its left and upper
# neighbour. Fitted: the first to the published bytes per archive, the second to the decoding time of real photos.
NOISE = {"train": 0.64, "test": 0.75, "extra": 0.27}
SHARED_NOISE = 0.25
NOISE_SIDE = 1300  # pixels; more than any photo has
BLOCKS = 4
PNG_LEVEL = 1


class Annotation(NamedTuple):
    """One photo of a split: its number as text, its boxes as (left, top, width, height) in pixels."""

    name: str
    width: int
    height: int
    label: str
    boxes: list[list[float]]


def png(split: str, annotation: Annotation, rng: np.random.Generator) -> bytes:
    """The PNG of a photo that shows the annotated digits in their boxes."""
    stream = io.BytesIO()
    Image.fromarray(_draw(split, annotation, rng)).save(stream, "PNG", compress_level=PNG_LEVEL)
    return stream.getvalue()


def _draw(split: str, annotation: Annotation, rng: np.random.Generator) -> np.ndarray:
    width, height = annotation.width, annotation.height
    wall = rng.integers(40, 216, 3)
    slope_x, slope_y = rng.uniform(-30, 30, (2, 3))
    photo = (
        (wall + slope_y * np.linspace(-1, 1, height)[:, None])[:, None]
        + (slope_x * np.linspace(-1, 1, width)[:, None])[None]
    ).astype(np.int16)
    for x, y, side_x, side_y in rng.random((BLOCKS, 4)) * (width, height, width / 2, height / 2):
        photo[int(y) : int(y + side_y), int(x) : int(x + side_x)] += rng.integers(
            -25, 26, 3, dtype=np.int16
        )
    ink = rng.integers(0, 30, 3) if wall.mean() > 127 else rng.integers(225, 256, 3)
    for digit, box in zip(annotation.label, annotation.boxes, strict=True):
        _write_digit(photo, int(digit), box, ink)
    top, left = rng.integers(0, NOISE_SIDE - height), rng.integers(0, NOISE_SIDE - width)
    photo += _noise(NOISE[split])[top : top + height, left : left + width]
    return photo.clip(0, 255).astype(np.uint8)


def _write_digit(photo: np.ndarray, digit: int, box: list[float], ink: np.ndarray) -> None:
    """Draws a digit into its box; what lies outside the photo is cut off."""
    left, top, width, height = (round(value) for value in box)
    rows = np.arange(max(0, top), min(photo.shape[0], top + height))
    columns = np.arange(max(0, left), min(photo.shape[1], left + width))
    is_ink = GLYPHS[digit][(rows - top)[:, None] * 7 // height, (columns - left) * 5 // width]
    photo[rows[:, None], columns] = np.where(is_ink[..., None], ink, photo[rows[:, None], columns])


@lru_cache
def _noise(deviation: float) -> np.ndarray:
    """int16[side, side, 3]: the same for all photos, each of which takes another part of it."""
    white = np.random.default_rng(0).normal(size=(NOISE_SIDE, NOISE_SIDE, 3)).astype(np.float32)
    for axis in (0, 1):
        white += SHARED_NOISE * np.roll(white, 1, axis)
    return np.rint(white * (deviation / white.std())).astype(np.int16)
