"""Paints a typeset number on the wall: flat or in relief, with shadows, worn or shining."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from svhn_jax.data.synthetic.camera import smooth_noise, to_image
from svhn_jax.data.synthetic.palette import Color, mix, shade
from svhn_jax.data.synthetic.walls import blend, slope


class Effects(NamedTuple):
    """Shares of the numbers that have each effect; set by eye."""

    shadow: float
    relief: float
    depth: float  # a thick body, seen from the side
    edge: float  # of another color
    lit: float  # from above or below
    worn: float  # dirty or brushed


PUBLISHED = Effects(shadow=0.22, relief=0.15, depth=0.03, edge=0.06, lit=0.2, worn=0.12)
ORDINARY = Effects(shadow=0.5, relief=0.5, depth=0.25, edge=0.08, lit=0.4, worn=0.15)


def paint(
    rng: np.random.Generator,
    photo: Image.Image,
    mask: Image.Image,
    corner: tuple[int, int],
    ink: Color,
    unit: float,
    effects: Effects,
) -> None:
    """Paints what the mask (255: ink) shows, its corner there; unit: height of a digit."""
    x, y = corner
    has = Effects(*(rng.random(6) < effects).tolist())
    side = 1 if rng.random() < 0.5 else -1  # where shadows fall
    if has.shadow:
        reach = unit * rng.uniform(0.03, 0.25 if rng.random() < 0.2 else 0.11)
        soft = mask.filter(ImageFilter.GaussianBlur(reach * rng.uniform(0.05, 0.5)))
        drop = x + side * round(reach * rng.uniform(0.1, 1)), y + round(reach * rng.uniform(0.2, 1))
        blend(photo, soft, drop, (0, 0, 0), rng.uniform(0.2, 0.8))
    for step in range(int(unit * rng.uniform(0.02, 0.12)) if has.depth else 0, 0, -1):
        photo.paste(mix(ink, (0, 0, 0), 0.45), (x + side * step, y + step // 2), mask)
    if has.edge:
        edge = mask.filter(ImageFilter.MaxFilter(3 if unit < 40 else 5))
        photo.paste(shade(rng, ink, 70), corner, edge)
    body: np.ndarray = np.zeros((1, 1, 1), np.float32)
    if has.lit:
        body = slope(rng, mask.height, 45)
    if has.relief:
        soft = mask.filter(ImageFilter.GaussianBlur(max(0.7, 0.025 * unit)))
        down, right = np.gradient(np.asarray(soft, np.float32) / 255)
        strength = rng.uniform(40, 160) * min(3.0, 0.06 * unit)
        body = body + np.asarray(down + side * 0.6 * right)[..., None] * np.float32(strength)
    if has.worn:
        cell, strength = max(2.0, unit * 0.12), rng.uniform(8, 40)
        body = body + smooth_noise(rng, mask.size, cell, strength)
    if body.size == 1:
        photo.paste(ink, corner, mask)
    else:
        body = np.broadcast_to(np.array(ink, np.float32) + body, (mask.height, mask.width, 3))
        photo.paste(to_image(body), corner, mask)
