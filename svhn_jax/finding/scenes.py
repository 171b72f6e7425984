"""Training scenes: photos of numbers at the scales of a pyramid's levels."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.data.crop import Box
from svhn_jax.data.synthetic import camera, ordinary, palette, walls, words
from svhn_jax.data.synthetic.render import render
from svhn_jax.finding.material import Material
from svhn_jax.finding.pyramid import GREY

SCENE = 160  # side, pixels
MOST_DIGITS = 10  # of a scene
# Of digits, pixels: even on a logarithmic scale from the first to the second; a share LARGE beyond.
HEIGHTS, LARGE = (8.0, 44.0, 110.0), 0.1
PLACES = (0.12, 0.88)  # of the number's centre, as shares of the scene's sides
ENLARGED = 3.0  # a photo is enlarged at most so much
# Shares of the kinds of scene, set by hand; docs/finder.md has what was measured.
PUBLISHED, ORDINARY = 0.45, 0.38  # like the data set's; ordinary photos; the rest has no number
WHOLE, SYNTHETIC = 0.6, 0.15  # of the first kind: shown whole, not a part; rendered, not real


class Scene(NamedTuple):
    """A scene and its digits.

    Attributes:
      image: uint8[SCENE, SCENE, 3].
      digits: float32[MOST_DIGITS, 5]: left, top, right, bottom, digit; NaN where there is none.
    """

    image: np.ndarray
    digits: np.ndarray


def compose(rng: np.random.Generator, material: Material) -> Scene:
    """One scene; a function of the generator's state and the material."""
    kind = rng.random()
    numbers: list[tuple[tuple[int, ...], np.ndarray]] = []
    if kind < PUBLISHED:
        image, digits, boxes = _pasted(rng, *_draw_example(rng, material), material)
        numbers = [(digits, boxes)]
    elif kind < PUBLISHED + ORDINARY:
        place = tuple((rng.uniform(*PLACES, 2) * SCENE).tolist())
        ground = _picture(rng, material)
        image, found = ordinary.render(rng, SCENE, _draw_height(rng), place, ground)
        numbers = [(one.digits, one.boxes) for one in found]
    else:
        image = _picture(rng, material)
        if rng.random() < 0.25:
            image = walls.wall(rng, image.size, palette.wall_color(rng), 40)
    if rng.random() < (0.7 if not numbers else 0.3):
        _add_writing(rng, image, [boxes for _, boxes in numbers])
    if not numbers and rng.random() < 0.2:  # the edge of a level
        part = image.crop((0, 0, *(rng.uniform(0.3, 1, 2) * SCENE).astype(int).tolist()))
        image = Image.new("RGB", (SCENE, SCENE), (GREY,) * 3)
        image.paste(part)
    taken = camera.sensor(rng, np.asarray(image, np.float32), noise=3.0, compressed=0.6)
    return Scene(np.asarray(taken), _rows(numbers))


def _rows(numbers: list[tuple[tuple[int, ...], np.ndarray]]) -> np.ndarray:
    rows = [
        (*box, digit)
        for digits, boxes in numbers
        for digit, box in zip(digits, boxes.tolist(), strict=True)
    ][:MOST_DIGITS]
    padded = np.full((MOST_DIGITS, 5), np.nan, np.float32)
    padded[: len(rows)] = np.array(rows, np.float32).reshape(-1, 5)
    return padded


def _draw_height(rng: np.random.Generator) -> float:
    low, high = HEIGHTS[1:] if rng.random() < LARGE else HEIGHTS[:2]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_example(
    rng: np.random.Generator, material: Material
) -> tuple[Image.Image, tuple[int, ...], np.ndarray]:
    if rng.random() < SYNTHETIC:
        photo, digits, rows = render(rng)
        return photo, digits, np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
    example = material.examples[int(rng.integers(len(material.examples)))]
    return example.photo, example.digits, example.boxes


def _pasted(
    rng: np.random.Generator,
    photo: Image.Image,
    digits: tuple[int, ...],
    boxes: np.ndarray,
    material: Material,
) -> tuple[Image.Image, tuple[int, ...], np.ndarray]:
    """A photo, or a part of it, on the grey around a level or, its edges faded, in a picture."""
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    if rng.random() > WHOLE:
        margins = rng.uniform(0.1, 1.3, 4) * height
        low = np.maximum(boxes[:, :2].min(axis=0) - margins[:2], 0).astype(int)
        high = np.minimum(boxes[:, 2:].max(axis=0) + margins[2:], photo.size).astype(int)
        high = np.maximum(high, low + 1)
        photo, boxes = photo.crop((*low, *high)), boxes - np.tile(low, 2)
    scale = min(_draw_height(rng) / height, ENLARGED) * np.exp(rng.normal(0, [0.1, 0.1]))
    size = np.maximum(np.rint(np.array(photo.size) * scale).astype(int), 2)
    boxes = boxes * np.tile(size / photo.size, 2)
    photo = photo.resize(size.tolist(), Image.Resampling.BICUBIC, reducing_gap=1.5)
    middle = (boxes[:, :2].min(axis=0) + boxes[:, 2:].max(axis=0)) / 2
    corner = np.rint(rng.uniform(*PLACES, 2) * SCENE - middle).astype(int)
    if rng.random() < 0.3:
        scene = Image.new("RGB", (SCENE, SCENE), (GREY,) * 3)
        scene.paste(photo, corner.tolist())
    else:
        scene = _picture(rng, material)
        if rng.random() < 0.5:  # the same light in photo and scene
            pixels = np.asarray(scene, np.float32)
            light = np.asarray(photo, np.float32).mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))
            scene = camera.to_image(pixels + light)
        near = min(boxes[:, :2].min(), (size - boxes[:, 2:]).min())  # to the photo's edge
        _paste(scene, photo, corner.tolist(), max(1.0, rng.uniform(0, 1) * near))
    return scene, digits, boxes + np.tile(corner, 2)


def _paste(photo: Image.Image, part: Image.Image, corner: tuple[int, int], reach: float) -> None:
    """Pastes a part whose edges fade over `reach` pixels."""
    sides = (
        np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / reach
        for side in part.size
    )
    x, y = (np.clip(side, 0, 1) for side in sides)
    photo.paste(part, corner, Image.fromarray((x[None] * y[:, None] * 255).astype(np.uint8)))


def _picture(rng: np.random.Generator, material: Material) -> Image.Image:
    """A part of a picture without a number, SCENE x SCENE."""
    picture = material.empty[int(rng.integers(len(material.empty)))]
    share = np.exp(rng.uniform(np.log(0.12), 0))
    side = max(8.0, share * min(picture.size))
    left, top = rng.uniform(0, np.array(picture.size) - side).tolist()
    box = (left, top, left + side, top + side)
    part = picture.resize((SCENE, SCENE), Image.Resampling.BICUBIC, box=box)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


def _add_writing(rng: np.random.Generator, image: Image.Image, numbers: list[np.ndarray]) -> None:
    """Words on signs of their own, beside the numbers."""
    for _ in range(int(rng.integers(1, 4))):
        wide, high = np.exp(rng.uniform((2.3, 1.8), (4.5, 3.9))).tolist()
        x, y = (rng.uniform(-0.3, 0.9, 2) * SCENE).tolist()
        sides = Box(x, y, x + wide, y + high)
        apart = ((one[:, :2] > sides[2:]) | (one[:, 2:] < sides[:2]) for one in numbers)
        if all(is_apart.any(axis=1).all() for is_apart in apart):
            if rng.random() < 0.4:
                face, ink = palette.wall_color(rng), palette.figure_color(rng)
                walls.panel(rng, image, sides, 0.0, face, ink, 0.7 * high)
            words.draw_words(rng, image, sides, palette.wall_color(rng))
