"""Training scenes: photos of numbers at the scales of a pyramid's canvases, some of them pasted into larger scenes."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.data.crop import Box, number_in
from svhn_jax.data.synthetic.render import View, render
from svhn_jax.finding import clutter
from svhn_jax.finding.config import SCENE
from svhn_jax.finding.material import Material
from svhn_jax.finding.pyramid import GREY

SIZES = (8.0, 60.0)  # pixels: max(height, width / 2) of the numbers, even on a logarithmic scale
PLACES = (0.18, 0.82)  # of the number's centre, as shares of the scene's sides
ENLARGED = 2.5  # a photo is enlarged at most so much
# Shares of the kinds of scene, set by hand: half as published photos are, half as a phone's; docs/experiments.md has what was measured.
WHOLE, PASTED, RENDERED = 0.42, 0.20, 0.12  # the rest has no number
SYNTHETIC = 0.2  # of the photos that are shown whole or pasted


class Scene(NamedTuple):
    """uint8[SCENE, SCENE, 3], and float32[4], the number's left, top, right and bottom in it; NaN: no number."""

    image: np.ndarray
    box: np.ndarray


def compose(rng: np.random.Generator, material: Material) -> Scene:
    """One scene; a function of the generator's state and the material."""
    kind = rng.random()
    if kind < WHOLE:
        image, box = _whole(rng, material)
    elif kind < WHOLE + PASTED:
        image, box = _pasted(rng, material)
    elif kind < WHOLE + PASTED + RENDERED:
        image, box = _rendered(rng, material)
    else:
        image, box = _empty(rng, material), None
    row = np.full(4, np.nan) if box is None else np.array(box)
    return Scene(np.asarray(image), row.astype(np.float32))


def _draw_example(rng: np.random.Generator, material: Material) -> tuple[Image.Image, Box]:
    if rng.random() < SYNTHETIC:
        photo, _, rows = render(rng)
        return photo, number_in(rows, *photo.size)
    example = material.examples[int(rng.integers(len(material.examples)))]
    return example.photo, example.box


def _draw_size(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(SIZES))))


def _scaled(rng: np.random.Generator, photo: Image.Image, box: Box) -> tuple[Image.Image, Box]:
    """The photo, and its box, at one of the sizes; stretched a little."""
    size = max(box.bottom - box.top, (box.right - box.left) / 2)
    scale = min(_draw_size(rng) / size, ENLARGED)
    stretch = np.exp(rng.normal(0, 0.08))
    wide, high = (
        max(2, round(photo.width * scale * stretch)),
        max(2, round(photo.height * scale / stretch)),
    )
    x, y = wide / photo.width, high / photo.height
    resized = photo.resize((wide, high), Image.Resampling.BICUBIC, reducing_gap=1.5)
    return resized, Box(box.left * x, box.top * y, box.right * x, box.bottom * y)


def _corner(rng: np.random.Generator, box: Box) -> tuple[int, int]:
    """Where a photo's corner goes so that its number has a random place in the scene."""
    x, y = rng.uniform(*PLACES, 2) * SCENE
    return round(x - (box.left + box.right) / 2), round(y - (box.top + box.bottom) / 2)


def _shifted(box: Box, corner: tuple[int, int]) -> Box:
    return Box(
        box.left + corner[0], box.top + corner[1], box.right + corner[0], box.bottom + corner[1]
    )


def _whole(rng: np.random.Generator, material: Material) -> tuple[Image.Image, Box]:
    """A whole photo on the grey of a canvas."""
    photo, box = _scaled(rng, *_draw_example(rng, material))
    scene, corner = Image.new("RGB", (SCENE, SCENE), (GREY,) * 3), _corner(rng, box)
    scene.paste(photo, corner)
    return scene, _shifted(box, corner)


def _pasted(rng: np.random.Generator, material: Material) -> tuple[Image.Image, Box]:
    """A part of a photo around its number, its edges faded, in a larger scene."""
    photo, box = _draw_example(rng, material)
    margins = rng.uniform(0.1, 1.3, 4) * (box.bottom - box.top)
    left, top = max(0, int(box.left - margins[0])), max(0, int(box.top - margins[1]))
    right, bottom = (
        min(photo.width, int(box.right + margins[2])),
        min(photo.height, int(box.bottom + margins[3])),
    )
    photo, box = _scaled(rng, photo.crop((left, top, right, bottom)), _shifted(box, (-left, -top)))
    corner = _corner(rng, box)
    placed = _shifted(box, corner)
    scene = _background(rng, material, placed)
    if rng.random() < 0.5:  # the same light in photo and scene
        scene = _relit(scene, photo)
    nearest = max(0.0, min(box.left, box.top, photo.width - box.right, photo.height - box.bottom))
    clutter.paste(scene, photo, corner, rng.uniform(0, 1) * nearest / min(photo.size))
    return _taken(rng, scene), placed


def _rendered(rng: np.random.Generator, material: Material) -> tuple[Image.Image, Box]:
    """A synthetic number on a wall that is larger than it, among other things."""
    size = _draw_size(rng)
    x, y = (rng.uniform(*PLACES, 2) * SCENE).tolist()
    photo, _, rows = render(rng, view=View((SCENE, SCENE), size, (x, y)))
    box = number_in(rows, *photo.size)
    _add_clutter(rng, photo, material, box)
    return photo, box


def _empty(rng: np.random.Generator, material: Material) -> Image.Image:
    """A scene without a number; sometimes part of it is the grey of a canvas."""
    scene = _taken(rng, _background(rng, material, None))
    if rng.random() < 0.4:
        size = (int(rng.uniform(0.3, 1) * SCENE), int(rng.uniform(0.3, 1) * SCENE))
        part, scene = scene.resize(size), Image.new("RGB", (SCENE, SCENE), (GREY,) * 3)
        scene.paste(part)
    return scene


def _background(rng: np.random.Generator, material: Material, avoid: Box | None) -> Image.Image:
    scene = clutter.background(
        rng, (SCENE, SCENE), float(np.exp(rng.uniform(1.5, 4))), material.patches
    )
    _add_clutter(rng, scene, material, avoid)
    return clutter.blurred(rng, scene, 1.5) if rng.random() < 0.5 else scene


def _add_clutter(
    rng: np.random.Generator, scene: Image.Image, material: Material, avoid: Box | None
) -> None:
    unit = float(np.exp(rng.uniform(2, 3.7)))
    clutter.add_clutter(rng, scene, unit, int(rng.integers(0, 8)), material.patches, avoid)


def _relit(scene: Image.Image, photo: Image.Image) -> Image.Image:
    """The scene with the mean colour of the photo."""
    pixels = np.asarray(scene, np.float32)
    shift = np.asarray(photo, np.float32).mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))
    return Image.fromarray((pixels + shift).clip(0, 255).astype(np.uint8))


def _taken(rng: np.random.Generator, scene: Image.Image) -> Image.Image:
    """With noise, and saved as JPEG, more often than not."""
    pixels = np.asarray(scene, np.float32)
    pixels = pixels + rng.normal(0, abs(rng.normal(0, 4)), (*pixels.shape[:2], 1)).astype(
        np.float32
    )
    scene = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        stream = io.BytesIO()
        scene.save(stream, "JPEG", quality=int(rng.integers(35, 95)))
        scene = Image.open(stream).convert("RGB")
    return scene
