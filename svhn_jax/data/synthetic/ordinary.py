"""Photos of house numbers as people take them.

The photos of `render` follow the published data set; these show what it lacks: sharp figures of
metal, wood or paint that cast shadows, wide spacing, stacks, strong perspective, boards, bricks and
pictures behind, and writing that is no number. Shares are set by eye. Everything is drawn from one
numpy Generator.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from svhn_jax.data.synthetic import camera, figures, walls
from svhn_jax.data.synthetic.fonts import random_font
from svhn_jax.data.synthetic.palette import LUMA, Color, Sides, mix
from svhn_jax.data.synthetic.words import draw_words

LENGTHS = (0.11, 0.22, 0.31, 0.26, 0.10)  # shares of numbers of 1 ... 5 digits
STACKED, CLIMBING, SPREAD_OUT = 0.26, 0.06, 0.4  # shares of the ways in which figures stand
LETTERS = "ABCDEHabc"  # what all faces have besides digits
EDGE = 1.25  # side of the flat scene, as a multiple of the photo's


class Number(NamedTuple):
    """A mask uint8 (255: ink), digits, their boxes float[n, 4]: left, top, right, bottom."""

    mask: Image.Image
    digits: tuple[int, ...]
    boxes: np.ndarray

    @property
    def sides(self) -> Sides:
        """Around all digits."""
        left, top = self.boxes[:, :2].min(axis=0).tolist()
        right, bottom = self.boxes[:, 2:].max(axis=0).tolist()
        return left, top, right, bottom


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
    fine = (
        2 if height < 40 else 1
    )  # drawn larger, then reduced: as sharp as a reduced photo of a phone
    unit, size = height * fine, round(side * fine * EDGE)
    behind = ground.resize((side * fine,) * 2, Image.Resampling.BICUBIC)  # where the wall ends
    place = (size - side * fine) / 2 + np.array(center) * fine
    ink = Image.new("L", (size, size), 0)
    numbers = [_placed(ink, _typeset(rng, unit), place)]
    _, top, right, bottom = number = numbers[0].sides
    if rng.random() < 0.08:  # the next door's
        other = _typeset(rng, unit * rng.uniform(0.6, 1))
        drop = (bottom - top + other.mask.height) / 2 + unit * rng.uniform(0.4, 2)
        away = np.array([rng.normal(0, unit), drop * rng.choice((-1, 1))])
        numbers.append(_placed(ink, other, place + away))
    if rng.random() < 0.08:  # 12A
        corner = right + unit * rng.uniform(0.05, 0.3), bottom
        letter, font = str(rng.choice(list(LETTERS))), random_font(rng, unit)
        ImageDraw.Draw(ink).text(corner, letter, font=font, anchor="ls", fill=255)
    is_picture, is_night = rng.random() < 0.3, rng.random() < 0.12
    wall = ground.resize(ink.size) if is_picture else walls.wall(rng, size, unit)
    if is_night:
        light = rng.uniform(0.08, 0.5) * rng.uniform(0.8, 1, 3)
        wall = wall.point([int(value * share) for share in light for value in range(256)])
    if rng.random() < (0.8 if is_picture else 0.45):
        walls.support(rng, wall, number, numbers[0].boxes, unit)
    if rng.random() < 0.35:
        draw_words(rng, wall, walls.beside(rng, number, unit), walls.color(rng))
    _paint(rng, wall, ink, number, unit, is_night)
    matrix = _turned(rng, size, place, np.array(center) * fine)
    photo = camera.view(wall, matrix, behind.size)
    is_wall = camera.view(Image.new("L", wall.size, 255), matrix, behind.size)
    photo = Image.composite(photo, behind, is_wall)
    photo = photo.resize((side, side), Image.Resampling.BOX) if fine > 1 else photo
    seen = [one._replace(boxes=_seen(matrix, one.boxes) / fine) for one in numbers]
    return _exposed(rng, photo, height), seen


def _placed(ink: Image.Image, number: Number, middle: np.ndarray) -> Number:
    """Pastes a number's mask around `middle`; returns the number with its boxes there."""
    corner = np.rint(middle - np.array(number.mask.size) / 2).astype(int)
    ink.paste(number.mask, (int(corner[0]), int(corner[1])), number.mask)
    return number._replace(boxes=number.boxes + np.tile(corner, 2))


def _typeset(rng: np.random.Generator, height: float) -> Number:
    """A number in one random face."""
    count = 1 + int(rng.choice(len(LENGTHS), p=LENGTHS))
    digits = (int(rng.integers(1, 10)), *rng.integers(0, 10, count - 1).tolist())
    font, style = random_font(rng, height), figures.draw_style(rng)
    stretch = float(np.clip(np.exp(rng.normal(0, 0.2)), 0.55, 1.7))
    masks, rises = [], []
    for digit in digits:
        figure = figures.figure(font, digit, height, style)
        wide = max(2, round(figure.mask.width * stretch))
        masks.append(figure.mask.resize((wide, figure.mask.height), Image.Resampling.BILINEAR))
        rises.append(figure.rise)
    sizes = np.array([mask.size for mask in masks])
    corners = _places(rng, sizes, height) - np.stack([np.zeros(count), rises], axis=1)
    corners -= corners.min(axis=0)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    wide, high = np.ceil(boxes[:, 2:].max(axis=0)).astype(int).tolist()
    whole = Image.new("L", (wide, high), 0)
    for mask, box in zip(masks, boxes, strict=True):
        whole.paste(255, (int(box[0]), int(box[1])), mask)
    if rng.random() < 0.4:
        whole = _reweighed(rng, whole, height)
    return Number(whole, digits, boxes)


def _places(rng: np.random.Generator, sizes: np.ndarray, height: float) -> np.ndarray:
    """float[n, 2]: left and base line of figures int[n, 2]: a row, a climbing row or a stack."""
    kind, wide, rows = rng.random(), sizes[:, 0], np.arange(len(sizes))
    jitter = rng.normal(0, 0.03 if rng.random() < 0.2 else 0.004, (len(sizes), 2)) * height
    if kind < STACKED:
        step = height * (1 + rng.uniform(0.06, 0.3 if rng.random() < 0.6 else 0.9))
        lean = rng.normal(0, 0.1) * height if rng.random() < 0.2 else 0.0
        return np.stack([rows * lean - wide / 2, rows * step], axis=1) + jitter
    climbs = kind < STACKED + CLIMBING
    if climbs or rng.random() < SPREAD_OUT:
        steps = np.maximum(wide, 0.3 * height) + height * rng.uniform(0.1, 0.65)
    else:
        steps = wide + height * abs(rng.normal(0.05, 0.06))
    x = np.cumsum(steps) - steps
    return np.stack([x, x * (rng.uniform(-0.8, 0.8) if climbs else 0)], axis=1) + jitter


def _reweighed(rng: np.random.Generator, mask: Image.Image, height: float) -> Image.Image:
    """Bolder or lighter strokes: the blurred mask, cut at another level than the half."""
    level = 255 * rng.uniform(0.25, 0.6)
    table = [int(min(255, max(0, (value - level) * 4 + 128))) for value in range(256)]
    return mask.filter(ImageFilter.GaussianBlur(height * rng.uniform(0.01, 0.035))).point(table)


def _paint(
    rng: np.random.Generator,
    photo: Image.Image,
    mask: Image.Image,
    number: Sides,
    unit: float,
    is_night: bool,
) -> None:
    """Paints what the mask shows, in relief or flat, with cast shadow, glow and shine."""
    has_shadow, has_relief = rng.random() < 0.5, rng.random() < 0.5
    ink = _ink(rng, photo, number, 22 if has_relief or has_shadow else 40)
    if rng.random() < (0.6 if is_night else 0.06):
        halo = mask.filter(ImageFilter.GaussianBlur(unit * 0.14))
        _blend(photo, halo, (0, 0), (255, 240, 205), 1.8 * rng.uniform(0.4, 1))
    angle = rng.uniform(0.15, 0.85) * np.pi
    side = 1 if angle < np.pi / 2 else -1  # where shadows fall
    if has_shadow:
        reach = unit * rng.uniform(0.03, 0.25 if rng.random() < 0.3 else 0.1)
        soft = mask.filter(ImageFilter.GaussianBlur(reach * rng.uniform(0.05, 0.6)))
        drop = round(reach * np.cos(angle)), round(reach * np.sin(angle))
        _blend(photo, soft, drop, (0, 0, 0), rng.uniform(0.2, 0.8))
    for step in range(int(unit * rng.uniform(0.02, 0.12)) if rng.random() < 0.25 else 0, 0, -1):
        photo.paste(mix(ink, (0, 0, 0), 0.45), (side * step, step // 2), mask)  # its depth
    if rng.random() < 0.08:
        edge = mask.filter(ImageFilter.MaxFilter(2 * max(1, int(0.03 * unit)) + 1))
        photo.paste(mix(ink, walls.ink(rng), 0.7), (0, 0), edge)
    body = np.zeros((mask.height, mask.width), np.float32)
    if rng.random() < 0.4:  # lit from above or below
        share = np.clip((np.arange(mask.height) - number[1]) / (number[3] - number[1]), 0, 1)
        body += (rng.normal(0, 45) * share + rng.normal(0, 45) * (1 - share))[:, None]
    if has_relief:
        soft = mask.filter(ImageFilter.GaussianBlur(max(0.7, 0.025 * unit)))
        down, right = np.gradient(np.asarray(soft, np.float32) / 255)
        body += (down + side * 0.6 * right) * rng.uniform(40, 160) * min(3.0, 0.06 * unit)
    if rng.random() < 0.15:  # worn, dirty or brushed
        cell, strength = max(2.0, unit * 0.12), rng.uniform(5, 30)
        body += camera.smooth_noise(rng, mask.size, cell, strength)[..., 0]
    pixels = (np.array(ink, np.float32) + body[..., None]).clip(0, 255).astype(np.uint8)
    photo.paste(Image.fromarray(pixels), (0, 0), mask)


def _ink(rng: np.random.Generator, photo: Image.Image, number: Sides, least: float) -> Color:
    """A colour that differs from what is behind the number by at least so many grey levels."""
    behind = np.asarray(photo.crop(number), np.float32) @ LUMA
    least += min(30.0, 0.7 * float(behind.std()))
    for _ in range(30):
        ink = walls.ink(rng)
        if abs(float(np.array(ink) @ LUMA - behind.mean())) > least:
            return ink
    return (245, 245, 245) if behind.mean() < 128 else (15, 15, 15)


def _blend(
    photo: Image.Image, mask: Image.Image, corner: tuple[int, int], color: Color, strength: float
) -> None:
    table = [min(255, int(value * strength)) for value in range(256)]
    photo.paste(color, corner, mask.point(table))


def _turned(
    rng: np.random.Generator, size: int, place: np.ndarray, center: np.ndarray
) -> np.ndarray:
    """float[3, 3]: the flat scene seen from the side, `place` at `center` of the photo."""
    strong = rng.random() < 0.3
    yaw = rng.uniform(-0.95, 0.95) if strong else rng.normal(0, 0.25)
    pitch = rng.normal(0, 0.25 if strong else 0.12)
    roll = rng.uniform(-0.4, 0.4) if rng.random() < 0.15 else rng.normal(0, 0.04)
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    around_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turn = around_z @ around_x @ around_y
    far = size * rng.uniform(1.0, 3.0)  # focal length and distance, pixels
    plane = np.stack([turn[:, 0], turn[:, 1], np.array([0, 0, far])], axis=1)
    lens = np.array([[far, 0, center[0]], [0, far, center[1]], [0, 0, 1.0]])
    matrix = lens @ plane @ np.array([[1, 0, -place[0]], [0, 1, -place[1]], [0, 0, 1.0]])
    return np.asarray(matrix / matrix[2, 2])


def _seen(matrix: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes (left, top, right, bottom) around the figures after the homography."""
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    outlines = camera.project(matrix, boxes[:, None, :2] + figures.OCTAGON * sides)
    return np.concatenate([outlines.min(axis=1), outlines.max(axis=1)], axis=1)


def _exposed(rng: np.random.Generator, photo: Image.Image, height: float) -> Image.Image:
    """Light, focus and noise of a phone: sharper, and of more contrast, than Street View."""
    if rng.random() < 0.6:
        pixels = camera.light(rng, np.asarray(photo, np.float32), height * rng.uniform(1, 4))
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    blur = rng.uniform(0, 0.6) if rng.random() < 0.75 else rng.uniform(0.5, 1.6)
    photo = photo.filter(ImageFilter.GaussianBlur(min(blur, 0.06 * height)))
    if rng.random() < 0.2:
        photo = photo.filter(
            ImageFilter.UnsharpMask(rng.uniform(0.8, 2), int(rng.uniform(30, 150)), 0)
        )
    return photo
