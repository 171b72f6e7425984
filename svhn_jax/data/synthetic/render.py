"""Synthetic house-number photos: a wall, perhaps a plate, a number, a camera.

Every choice is drawn from one numpy Generator, so a photo is a pure function of its seed.
Geometry follows the published annotations (33,402 train photos): number height 1 % 12 px,
median 31, 99 % 112; width/height median 0.95; photos about three times as wide as the number
and 1.7 times as high.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from svhn_jax.data.synthetic.fonts import random_font
from svhn_jax.data.synthetic.scene import draw_scene, expose, paint_number

VERSION = 1  # counts up when the photos change
PHOTOS_AT_ONCE = 64
SPLIT_SEEDS = {"train": 0, "test": 1, "extra": 2}
LENGTH_COUNTS = {  # numbers of 1 ... 5 digits in the published splits
    "train": (5137, 18130, 8691, 1434, 9),
    "extra": (9385, 71726, 106789, 14338, 115),
    "test": (2483, 8356, 2081, 146, 2),
}


class Rendering(NamedTuple):
    """A photo and, in reading order, its digits and boxes int[n, 4] (left, top, width, height)."""

    photo: Image.Image
    digits: tuple[int, ...]
    boxes: np.ndarray


def photo_rng(seed: int, split: str, number: int) -> np.random.Generator:
    """What all draws for a split's photo come from."""
    return np.random.default_rng([seed, SPLIT_SEEDS[split], number])


def blocks(count: int) -> Iterator[range]:
    """The numbers of so many photos, from 1 on, a task's worth at a time."""
    return (range(first, min(first + PHOTOS_AT_ONCE, count + 1)) for first in range(1, count + 1, PHOTOS_AT_ONCE))


def draw_digits(rng: np.random.Generator, split: str = "train") -> tuple[int, ...]:
    """A number: length as in the published split, first digit by Benford's law, no leading zero."""
    counts = LENGTH_COUNTS[split]
    length = 1 + int(rng.choice(len(counts), p=np.array(counts) / sum(counts)))
    first = int(rng.choice(9, p=np.log10(1 + 1 / np.arange(1, 10)))) + 1
    return (first, *(int(digit) for digit in rng.integers(0, 10, length - 1)))


def render(rng: np.random.Generator, split: str = "train") -> Rendering:
    """One synthetic photo, its number as long as those of the published split."""
    digits = draw_digits(rng, split)
    mask, boxes = _typeset(rng, "".join(map(str, digits)))
    number_height = float(np.clip(31 * np.exp(rng.normal(0, 0.47)), 10, 115))
    scale = number_height / max(1.0, _extent(boxes)[1])
    if len(digits) * 0.5 * number_height > 160:
        scale *= 0.6
    mask, boxes = _warp(rng, mask, boxes, scale)

    number_width, number_height = _extent(boxes)
    width = int(max(24, number_width * rng.uniform(1.25, 3.4) + 4))
    height = int(max(13, number_height * rng.uniform(1.15, 2.2) + 4))
    left, top = rng.beta(5, 5, 2) * [max(1.0, width - number_width), max(1.0, height - number_height)]
    # The scene is drawn larger than the photo, so that the camera may turn and still see wall.
    rim = int(0.15 * max(width, height)) + 2
    corner = np.rint([left + rim, top + rim] - boxes[:, :2].min(axis=0)).astype(int)
    boxes[:, :2] += corner

    photo, ink = draw_scene(rng, (width + 2 * rim, height + 2 * rim), boxes, number_height)
    ink_layer = Image.new("L", photo.size, 0)
    ink_layer.paste(mask, (int(corner[0]), int(corner[1])))
    photo = paint_number(rng, photo, ink_layer, ink, number_height)
    photo, boxes = _turn_camera(rng, photo, boxes, (width, height))
    photo = expose(rng, photo, number_height)
    return Rendering(photo, digits, _annotate(rng, boxes))


def _annotate(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """Boxes as a person draws them: whole pixels, off by about 3 % of the height."""
    slack = rng.normal(0.02, 0.03, boxes.shape) * boxes[:, 3:]
    drawn = boxes + np.concatenate([-slack[:, :2], slack[:, :2] + slack[:, 2:]], axis=1)
    drawn = np.rint(drawn).astype(int)
    drawn[:, 2:] = np.maximum(drawn[:, 2:], 2)
    return drawn


def _extent(boxes: np.ndarray) -> tuple[float, float]:
    """(width, height) of the union of boxes."""
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return float(high[0] - low[0]), float(high[1] - low[1])


TYPE_SIZE = 64  # pixels; numbers are set at this size and then scaled down or up by the warp


def _typeset(rng: np.random.Generator, text: str) -> tuple[Image.Image, np.ndarray]:
    """The number in black and white at type size: its mask and the digits' tight boxes."""
    font = random_font(rng, TYPE_SIZE)
    spacing = rng.uniform(-0.03, 0.22) * TYPE_SIZE if rng.random() < 0.9 else rng.uniform(0.2, 0.5) * TYPE_SIZE
    jitter = 0.05 if rng.random() < 0.15 else 0.004
    slope = rng.uniform(0.15, 0.5) * rng.choice((-1, 1)) if rng.random() < 0.04 else 0.0
    is_vertical = len(text) > 1 and rng.random() < 0.015
    pen, glyphs = np.array([float(TYPE_SIZE), TYPE_SIZE * 2.0]), []
    for character in text:
        box = font.getbbox(character, anchor="ls")
        at = pen + np.array([0.0, rng.normal(0, jitter) * TYPE_SIZE])
        glyphs.append((character, at, np.array([at[0] + box[0], at[1] + box[1], box[2] - box[0], box[3] - box[1]])))
        advance = font.getlength(character) + spacing
        pen += np.array([0.0, TYPE_SIZE * 1.0 + spacing]) if is_vertical else np.array([advance, slope * advance])
    boxes = np.stack([box for _, _, box in glyphs]).astype(float)
    offset = boxes[:, :2].min(axis=0) - 8
    boxes[:, :2] -= offset
    size = np.ceil((boxes[:, :2] + boxes[:, 2:]).max(axis=0)).astype(int) + 8
    mask = Image.new("L", (int(size[0]), int(size[1])), 0)
    draw = ImageDraw.Draw(mask)
    outline = int(rng.integers(2, 4)) if rng.random() < 0.04 else 0
    for character, at, _ in glyphs:
        place = (at[0] - offset[0], at[1] - offset[1])
        if outline:
            draw.text(place, character, font=font, anchor="ls", fill=0, stroke_width=outline, stroke_fill=255)
        else:
            draw.text(place, character, font=font, anchor="ls", fill=255)
    return mask, boxes


def _warp(
    rng: np.random.Generator, mask: Image.Image, boxes: np.ndarray, scale: float
) -> tuple[Image.Image, np.ndarray]:
    """Stretches, slants and scales the mask; the boxes become those of the warped digits."""
    stretch = float(np.exp(rng.normal(0, 0.13)))
    slant = rng.normal(0, 0.09) if rng.random() < 0.7 else rng.normal(0, 0.22)
    keystone = rng.normal(0, 0.03)
    matrix = np.array([[stretch, slant], [keystone, 1.0]]) * scale
    moved = _move_boxes(boxes, matrix)
    origin = moved[:, :2].min(axis=0) - 0.3 * np.array(_extent(moved))[1] - 3
    size = np.ceil((moved[:, :2] + moved[:, 2:]).max(axis=0) - 2 * origin + moved[:, :2].min(axis=0)).astype(int)
    if scale < 1:  # blur first, or thin strokes alias away
        mask = mask.filter(ImageFilter.GaussianBlur(0.4 / scale))
    moved[:, :2] -= origin
    return _transform(mask, matrix, origin, (int(size[0]), int(size[1]))), moved


def _turn_camera(
    rng: np.random.Generator, photo: Image.Image, boxes: np.ndarray, size: tuple[int, int]
) -> tuple[Image.Image, np.ndarray]:
    """Turns the whole scene about its middle and cuts it to the photo's size."""
    angle = np.deg2rad(rng.normal(0, 3.5) if rng.random() < 0.8 else rng.normal(0, 10.0))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    origin = matrix @ (np.array(photo.size) / 2) - np.array(size) / 2
    moved = _move_boxes(boxes, matrix)
    moved[:, :2] -= origin
    return _transform(photo, matrix, origin, size), moved


def _move_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes around the digits after `matrix`. A digit leaves its box's corners mostly empty, so a
    sheared box grows by two thirds of what the rectangle around its four corners would."""
    centers = (boxes[:, :2] + boxes[:, 2:] / 2) @ matrix.T
    scaled = boxes[:, 2:] * np.abs(np.diag(matrix))
    sheared = boxes[:, :1:-1] * np.abs(np.fliplr(matrix).diagonal())
    sides = scaled + 0.67 * sheared
    return np.concatenate([centers - sides / 2, sides], axis=1)


def _transform(image: Image.Image, matrix: np.ndarray, origin: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The image after `matrix`, seen through a window of `size` pixels whose corner is `origin`."""
    inverse = np.linalg.inv(matrix)
    start = inverse @ origin
    coefficients = (inverse[0, 0], inverse[0, 1], start[0], inverse[1, 0], inverse[1, 1], start[1])
    return image.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
