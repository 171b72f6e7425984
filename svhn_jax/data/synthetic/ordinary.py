"""Photos of house numbers as people take them.

The photos of `render` follow the published data set; these show what it lacks: sharp figures of
metal, wood or paint that cast shadows, wide spacing, stacks, strong perspective, boards, bricks and
pictures behind, and writing that is no number. Shares are set by eye. Everything is drawn from one
numpy Generator.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from svhn_jax.data.synthetic import camera, painting, palette, typesetting, walls, words
from svhn_jax.data.synthetic.fonts import random_font

LENGTHS = (0.11, 0.22, 0.31, 0.26, 0.10)  # shares of numbers of 1 ... 5 digits
LETTERS = list("ABCDEHabc")  # what all faces have besides digits
EDGE = 1.25  # side of the flat scene, as a multiple of the photo's


class Number(NamedTuple):
    """Digits and their boxes float[n, 4]: left, top, right, bottom; pixels."""

    digits: tuple[int, ...]
    boxes: np.ndarray

    @property
    def sides(self) -> palette.Sides:
        """Around all digits."""
        return palette.around(self.boxes)


def render(
    rng: np.random.Generator,
    side: int,
    height: float,
    center: tuple[float, float],
    ground: Image.Image,
) -> tuple[Image.Image, list[Number]]:
    """A photo of side x side pixels with a number of about this digit height around `center`.

    Args:
      ground: a picture without a number; behind a part of the numbers.

    Returns:
      The photo, and its one or two numbers, their boxes in pixels of the photo.
    """
    fine = 2 if height < 40 else 1  # drawn larger, then reduced: as sharp as a phone's photo
    unit, size = height * fine, round(side * fine * EDGE)
    place = (size - side * fine) / 2 + np.array(center) * fine
    mask = Image.new("L", (size, size), 0)
    numbers = [_set(rng, mask, unit, place)]
    _, top, right, bottom = sides = numbers[0].sides
    if rng.random() < 0.08:  # the next door's
        drop = (bottom - top + unit) / 2 + unit * rng.uniform(0.6, 2.2)
        away = np.array([rng.normal(0, unit), drop * rng.choice((-1, 1))])
        numbers.append(_set(rng, mask, unit * rng.uniform(0.6, 1), place + away))
    if rng.random() < 0.08:  # 12A
        corner = right + unit * rng.uniform(0.05, 0.3), bottom
        letter, font = str(rng.choice(LETTERS)), random_font(rng, unit)
        ImageDraw.Draw(mask).text(corner, letter, font=font, anchor="ls", fill=255)
    wall, is_night = _draw_wall(rng, size, ground, unit)
    if rng.random() < 0.55:
        face = palette.wall_color(rng)
        walls.support(rng, wall, numbers[0].boxes, face, palette.figure_color(rng), unit)
    if rng.random() < 0.35:
        words.draw_words(rng, wall, words.beside(rng, sides, unit), palette.wall_color(rng))
    if rng.random() < (0.6 if is_night else 0.06):
        halo = mask.filter(ImageFilter.GaussianBlur(unit * 0.14))
        walls.blend(wall, halo, (0, 0), (255, 240, 205), 1.8 * rng.uniform(0.4, 1))
    ink = _contrasting_ink(rng, wall.crop(sides))
    painting.paint(rng, wall, mask, (0, 0), ink, unit, painting.ORDINARY)
    matrix = camera.turned(rng, size, place, np.array(center) * fine)
    seen = [one._replace(boxes=camera.project_boxes(matrix, one.boxes) / fine) for one in numbers]
    behind = ground.resize((side * fine,) * 2, Image.Resampling.BICUBIC)  # where the wall ends
    is_wall = camera.view(Image.new("L", wall.size, 255), matrix, behind.size)
    photo = Image.composite(camera.view(wall, matrix, behind.size), behind, is_wall)
    photo = photo.resize((side, side), Image.Resampling.BOX) if fine > 1 else photo
    if rng.random() < 0.6:
        pixels = np.asarray(photo, np.float32)
        photo = camera.to_image(camera.light(rng, pixels, height * rng.uniform(1, 4)))
    blur = rng.uniform(0, 0.6) if rng.random() < 0.75 else rng.uniform(0.5, 1.6)
    return camera.focus(rng, photo, (min(blur, 0.06 * height),) * 2, sharpened=0.2), seen


def _set(rng: np.random.Generator, mask: Image.Image, height: float, middle: np.ndarray) -> Number:
    """Sets a random number around `middle` of the mask."""
    count = 1 + int(rng.choice(len(LENGTHS), p=LENGTHS))
    digits = (int(rng.integers(1, 10)), *rng.integers(0, 10, count - 1).tolist())
    ink, boxes = typesetting.typeset(rng, digits, height, typesetting.ORDINARY)
    corner = np.rint(middle - np.array(ink.size) / 2)
    left, top = corner.astype(int).tolist()
    mask.paste(ink, (left, top), ink)
    return Number(digits, boxes + np.tile(corner, 2))


def _draw_wall(
    rng: np.random.Generator, size: int, ground: Image.Image, unit: float
) -> tuple[Image.Image, bool]:
    """A wall, or the picture in its place, of size x size pixels; whether it is night."""
    wall = ground.resize((size, size))
    if rng.random() > 0.3:
        wall = walls.wall(rng, wall.size, palette.wall_color(rng), unit)
    is_night = rng.random() < 0.12
    if is_night:
        light = rng.uniform(0.08, 0.5) * rng.uniform(0.8, 1, 3)
        wall = camera.to_image(np.asarray(wall) * light)
    return wall, is_night


def _contrasting_ink(rng: np.random.Generator, behind: Image.Image) -> palette.Color:
    """A color that differs from what is behind the number."""
    grey = np.asarray(behind, np.float32) @ palette.LUMA
    least = 28 + min(30.0, 0.7 * float(grey.std()))
    for _ in range(30):
        ink = palette.figure_color(rng)
        if abs(float(np.array(ink) @ palette.LUMA - grey.mean())) > least:
            return ink
    return (245, 245, 245) if grey.mean() < 128 else (15, 15, 15)
