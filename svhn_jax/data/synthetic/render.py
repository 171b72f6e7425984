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

from svhn_jax.data.synthetic import camera, painting, palette, typesetting, walls, words
from svhn_jax.labels import DEFAULT_MAX_DIGITS

VERSION = 3  # counts up when the photos change
PHOTOS_AT_ONCE = 64
SPLIT_SEEDS = {"train": 0, "test": 1, "extra": 2}
LEAST_DETAIL = 9.0  # pixels of height with which a photo is taken; fewer are not legible
FINER = 1.25  # the flat scene has so many pixels for one of the photo as taken


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
    height = min(105.0, max(10.0, 25.5 * float(np.exp(rng.normal(0, 0.5)))))
    # Most published photos hold less detail than their pixels could: taken with fewer pixels, then
    # enlarged.
    most = max(1.0, height / LEAST_DETAIL)
    coarse = [min(most, max(1.0, one)) for one in np.exp(rng.normal([0.35, 0.25], 0.3)).tolist()]
    unit = min(80.0, max(16.0, FINER * height / coarse[1]))  # height of a digit on the flat scene
    mask, flat = typesetting.typeset(rng, digits, unit)
    low, high = flat[:, :2].min(axis=0), flat[:, 2:].max(axis=0)
    flat -= np.tile((low + high) / 2, 2)
    tallest = float((flat[:, 3] - flat[:, 1]).max())
    stretch = _stretch(rng, digits, (high - low).tolist(), tallest)
    matrix = camera.homography(rng, stretch, height / tallest, max(high - low))
    boxes = camera.project_boxes(matrix, flat)
    size, origin = _close(rng, boxes)
    boxes -= np.tile(origin, 2)
    taken = tuple(max(8, round(side / one)) for side, one in zip(size, coarse, strict=True))
    matrix = np.array([[1, 0, -origin[0]], [0, 1, -origin[1]], [0, 0, 1]]) @ matrix
    matrix = np.diag([taken[0] / size[0], taken[1] / size[1], 1]) @ matrix

    # The scene is as large as the part of the wall that the photo shows.
    corners = np.array([[0, 0], [taken[0], 0], [0, taken[1]], taken], float)
    seen = camera.project(np.linalg.inv(matrix), corners)
    reach = 4.0 * max(high - low)
    top = np.rint(np.maximum(seen.min(axis=0) - 1, -reach))
    end = np.rint(np.minimum(seen.max(axis=0) + 1, reach))
    wide, tall = np.maximum(end - top, 8).astype(int).tolist()
    photo, ink = _draw_scene(rng, (wide, tall), flat - np.tile(top, 2), unit)
    left, upper = np.rint(-(low + high) / 2 - top).astype(int).tolist()
    painting.paint(rng, photo, mask, (left, upper), ink, unit, painting.PUBLISHED)
    photo = camera.view(
        photo, matrix @ np.array([[1, 0, top[0]], [0, 1, top[1]], [0, 0, 1]]), taken
    )
    photo = camera.expose(rng, photo, height / coarse[1])
    return Rendering(photo.resize(size, Image.Resampling.BICUBIC), digits, _annotate(rng, boxes))


def _draw_scene(
    rng: np.random.Generator, size: tuple[int, int], boxes: np.ndarray, unit: float
) -> tuple[Image.Image, palette.Color]:
    """Everything except the number, and the color of its ink. unit: the height of a digit."""
    ground, ink = palette.measured_pair(rng)
    number = plate = palette.around(boxes)
    has_plate = rng.random() < 0.6
    wall = ground
    if has_plate:
        other = rng.random() < 0.8
        wall = palette.ground_color(rng) if other else palette.shade(rng, ground, 40)
    photo = walls.wall(rng, size, wall, unit, patterned=0.3)
    if has_plate:
        plate = walls.support(rng, photo, boxes, ground, ink, unit)
    if not has_plate or rng.random() < 0.4:
        walls.draw_objects(rng, photo, plate, unit)
    if rng.random() < 0.22:
        fill = palette.mix(ink, ground, rng.uniform(0, 0.5))
        words.draw_small_print(rng, photo, number, fill, unit)
    return photo, ink


def _stretch(
    rng: np.random.Generator, digits: tuple[int, ...], size: list[float], tallest: float
) -> float:
    """Most of the way from the type's width to a published one, less the boxes' slack.

    size: width and height of the number as set; tallest: height of its tallest digit.
    """
    log = rng.normal(0, 0.1)
    if size[1] < 1.6 * tallest:  # it is level
        wanted = np.log(0.88 * typesetting.natural_aspect(digits))
        wanted += rng.normal(0, typesetting.ASPECT_SPREAD)
        log += 0.7 * (wanted - np.log(size[0] / size[1]))
    return min(1.7, max(0.45, float(np.exp(log))))


def _close(rng: np.random.Generator, boxes: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """Size of a photo close to its number, and its corner where the boxes are measured."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    wide, tall = (high - low).tolist()
    size = (
        int(max(20, wide * rng.uniform(1.4, 2.2) + 2)),
        int(max(12, tall * (1.1 + float(np.exp(rng.normal(np.log(0.42), 0.75)))) + 1)),
    )
    free = np.array(size) - [wide, tall]
    place = np.minimum(np.maximum(rng.normal([0.5, 0.46], [0.06, 0.15]), 0), 1)
    return size, low - place * free


def _annotate(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """int[n, 4], left, top, width, height, as a person draws boxes: whole pixels, looser above than
    below, one top and height for level digits.

    The slack was measured on the rows of contrast inside crops of real train photos.
    """
    height = (boxes[:, 3] - boxes[:, 1]).mean()
    loose = rng.normal([-0.03, -0.085, 0.03, 0.055], [0.05, 0.05, 0.05, 0.045])
    edges = boxes + (loose + rng.normal(0, 0.015, boxes.shape)) * height
    edges[:, 2:] = np.maximum(edges[:, 2:] - edges[:, :2], 2)
    return np.rint(edges).astype(int)
