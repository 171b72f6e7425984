"""Photos as large as a phone's, to measure on: a real photo of a number pasted small into a scene, and scenes without one."""

import numpy as np
from PIL import Image

from svhn_jax.data.crop import Box
from svhn_jax.finding import clutter
from svhn_jax.finding.material import Example

SIZE = (4000, 3000)  # 12 million pixels
UNITS = (30.0, 400.0)  # pixels, of a scene's details
FEATHER = 0.12  # of the pasted photo's shorter side


def empty(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> Image.Image:
    """A synthetic scene without a number."""
    unit = float(np.exp(rng.uniform(*np.log(UNITS)))) * size[0] / SIZE[0]
    photo = clutter.background(rng, size, unit, ())
    clutter.add_clutter(rng, photo, size[0] / 20, int(rng.integers(5, 40)), (), None)
    return photo


def covering(photo: Image.Image, size: tuple[int, int] = SIZE) -> Image.Image:
    """The photo, cut to the shape of `size` and enlarged to it."""
    scale = max(size[0] / photo.width, size[1] / photo.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (photo.width - width) / 2, (photo.height - height) / 2
    return photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))


def pasted(rng: np.random.Generator, scene: Image.Image, example: Example, share: float) -> Example:
    """The example's whole photo pasted into a copy of the scene, its number as wide as this share of the scene."""
    scale = share * scene.width / (example.box.right - example.box.left)
    size = round(example.photo.width * scale), round(example.photo.height * scale)
    photo = example.photo.resize(size, Image.Resampling.BICUBIC)
    free = np.maximum(np.array(scene.size) - size, 0)
    left, top = (int(rng.integers(0, most + 1)) for most in free.tolist())
    scene = scene.copy()
    clutter.paste(scene, photo, (left, top), FEATHER)
    x, y = size[0] / example.photo.width, size[1] / example.photo.height
    box = example.box
    placed = Box(left + box.left * x, top + box.top * y, left + box.right * x, top + box.bottom * y)
    return Example(example.name, scene, placed, example.number)
