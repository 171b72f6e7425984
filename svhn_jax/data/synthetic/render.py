"""Synthetic house-number photos: a wall, perhaps a plate, a number, a camera.

Every choice is drawn from one numpy Generator, so a photo is a pure function of its seed. Geometry
follows the published annotations of the 33,402 train photos: number height 1 % 12 px, median 31,
99 % 112; width / height by the digits (svhn_jax.data.synthetic.typesetting); photos 1.4 times as
high as the number (5 % 1.1, 95 % 2.5), so that many crops reach past the photo's upper and lower
edge. They are 3.4 times as wide; ours are narrower, for no crop needs more.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.data.synthetic import camera, figures, typesetting
from svhn_jax.data.synthetic.scene import draw_scene, paint_number
from svhn_jax.labels import DEFAULT_MAX_DIGITS

VERSION = 2  # counts up when the photos change
PHOTOS_AT_ONCE = 64
SPLIT_SEEDS = {"train": 0, "test": 1, "extra": 2}
LEAST_DETAIL = 9.0  # pixels of height with which a photo is taken; fewer are not legible


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
    return (
        range(first, min(first + PHOTOS_AT_ONCE, count + 1))
        for first in range(1, count + 1, PHOTOS_AT_ONCE)
    )


def render(
    rng: np.random.Generator,
    split: str = "train",
    max_digits: int = DEFAULT_MAX_DIGITS,
) -> Rendering:
    """One synthetic photo of a number that `typesetting.draw_digits` draws."""
    digits = typesetting.draw_digits(rng, split, max_digits)
    height = float(np.clip(25.5 * np.exp(rng.normal(0, 0.5)), 10, 105))
    unit = float(np.clip(height * 1.25, 20, 80))  # of the flat scene, pixels
    mask, flat = typesetting.typeset(rng, digits, unit)
    flat_size = _extent(flat)
    natural = flat_size[0] / flat_size[1]
    is_level = flat_size[1] < 1.6 * flat[:, 3].max()
    stretch = rng.normal(0, 0.1)
    if is_level:  # most of the way from the type's width to a published one, less the boxes' slack
        wanted = (
            0.88
            * typesetting.natural_aspect(digits)
            * np.exp(rng.normal(0, typesetting.ASPECT_SPREAD))
        )
        stretch += 0.7 * np.log(wanted / natural)
    stretch = float(np.clip(np.exp(stretch), 0.45, 1.7))
    center = flat[:, :2].min(axis=0) + np.array(flat_size) / 2
    matrix = camera.homography(rng, stretch, height / flat[:, 3].max(), max(flat_size))
    boxes = _project_boxes(matrix, flat - [*center, 0, 0])
    size, origin = _close(rng, boxes)
    boxes[:, :2] -= origin
    matrix = np.array([[1, 0, -origin[0]], [0, 1, -origin[1]], [0, 0, 1]]) @ matrix

    # The scene is as large as the part of the wall that the photo shows.
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size], float)
    seen = camera.project(np.linalg.inv(matrix), corners)
    reach = 4.0 * max(flat_size)
    low, top = (
        np.floor(np.maximum(seen.min(axis=0), -reach)),
        np.ceil(np.minimum(seen.max(axis=0), reach)),
    )
    scene_size = tuple(int(side) for side in np.maximum(top - low, 8))
    shift = np.rint(-center - low)
    on_scene = flat + np.array([*shift, 0, 0])
    photo, ink = draw_scene(rng, (scene_size[0], scene_size[1]), on_scene, unit)
    paint_number(rng, photo, mask, (int(shift[0]), int(shift[1])), ink, unit)
    # Most published photos hold less detail than their pixels could: taken with fewer pixels, then
    # enlarged.
    coarse = np.clip(np.exp(rng.normal([0.35, 0.25], 0.3)), 1, max(1.0, height / LEAST_DETAIL))
    taken = (max(8, round(size[0] / coarse[0])), max(8, round(size[1] / coarse[1])))
    shrunk = np.diag([taken[0] / size[0], taken[1] / size[1], 1])
    photo = camera.view(
        photo, shrunk @ matrix @ np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1]]), taken
    )
    photo = camera.expose(rng, photo, height / coarse[1]).resize(size, Image.Resampling.BICUBIC)
    return Rendering(photo, digits, _annotate(rng, boxes))


def _close(rng: np.random.Generator, boxes: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """Size of a photo close to its number, and its corner where the boxes are measured."""
    wide, high = _extent(boxes)
    size = (
        int(max(20, wide * rng.uniform(1.4, 2.6) + 2)),
        int(max(12, high * (1.1 + np.exp(rng.normal(np.log(0.42), 0.75))) + 1)),
    )
    free = np.array(size) - [wide, high]
    place = rng.normal([0.5, 0.46], [0.06, 0.15])
    return size, boxes[:, :2].min(axis=0) - np.clip(place, 0, 1) * free


def _project_boxes(matrix: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes around the digits after the homography."""
    outlines = camera.project(matrix, boxes[:, None, :2] + figures.OCTAGON * boxes[:, None, 2:])
    low, high = outlines.min(axis=1), outlines.max(axis=1)
    return np.concatenate([low, high - low], axis=1)


def _annotate(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """Boxes as a person draws them: whole pixels, looser above than below, one top and height for
    level digits.

    The slack was measured on the rows of contrast inside crops of real train photos.
    """
    height = boxes[:, 3].mean()
    loose = rng.normal([0.03, 0.085, 0.03, 0.055], [0.05, 0.05, 0.05, 0.045]) * height
    scatter = rng.normal(0, 0.015, boxes.shape) * height
    edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) + scatter
    edges += loose * [-1, -1, 1, 1]
    drawn = np.rint(np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], axis=1)).astype(int)
    drawn[:, 2:] = np.maximum(drawn[:, 2:], 2)
    return drawn


def _extent(boxes: np.ndarray) -> tuple[float, float]:
    """(width, height) of the union of boxes."""
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return float(high[0] - low[0]), float(high[1] - low[1])
