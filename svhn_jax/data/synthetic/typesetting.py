"""The number itself: its digits, its typeface and the places of its digits."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from svhn_jax.data.synthetic import figures
from svhn_jax.data.synthetic.fonts import Glyph, random_face
from svhn_jax.labels import DEFAULT_MAX_DIGITS

LENGTH_COUNTS = {  # numbers of 1 ... 5 digits in the published splits
    "train": (5137, 18130, 8691, 1434, 9),
    "extra": (9385, 71726, 106789, 14338, 115),
    "test": (2483, 8356, 2081, 146, 2),
}
PUBLISHED_DIGITS = 5
# Percentages of the digits 0 ... 9 among first and later digits of the published train labels.
FIRST_SHARES = (0.0, 27.9, 18.9, 13.0, 10.5, 8.5, 6.5, 5.6, 4.7, 4.4)
LATER_SHARES = (12.2, 11.6, 10.7, 10.4, 9.9, 10.2, 9.0, 9.3, 8.7, 8.0)
# Median width / height of a digit's box there; neighboring boxes touch (median gap 0).
ASPECT_OF_ONE, ASPECT_OF_OTHERS = 0.37, 0.51
ASPECT_SPREAD = 0.25  # of log(width / height) of a number, given its digits; there too


class Layout(NamedTuple):
    """Shares of the ways in which digits stand, else close together in a row.

    stretch: standard deviation of the logarithm of the digits' width.
    """

    stacked: float
    climbing: float
    apart: float
    stretch: float


PUBLISHED = Layout(stacked=0.012, climbing=0.08, apart=0.15, stretch=0.0)
ORDINARY = Layout(stacked=0.26, climbing=0.06, apart=0.4, stretch=0.2)  # by eye


class Setting(NamedTuple):
    """A typeset number: mask uint8 (255: ink), and tight boxes float[n, 4] of its digits.

    A box is left, top, right, bottom.
    """

    mask: Image.Image
    boxes: np.ndarray


def draw_digits(
    rng: np.random.Generator, split: str = "train", max_digits: int = DEFAULT_MAX_DIGITS
) -> tuple[int, ...]:
    """A number with the digit frequencies of the published train split and no leading zero.

    Its length follows the published split; with max_digits above 5, every length is as probable.
    """
    counts = LENGTH_COUNTS[split] if max_digits <= PUBLISHED_DIGITS else (1,) * max_digits
    length = 1 + _pick(rng, counts)
    return (_pick(rng, FIRST_SHARES), *(_pick(rng, LATER_SHARES) for _ in range(length - 1)))


def _pick(rng: np.random.Generator, shares: tuple[float, ...]) -> int:
    """An index, with the probability of its share."""
    rest = rng.random() * sum(shares)
    for index, share in enumerate(shares):
        rest -= share
        if rest < 0:
            return index
    return len(shares) - 1


def natural_aspect(digits: tuple[int, ...]) -> float:
    """Median width / height of the published boxes of a number of these digits."""
    return sum(ASPECT_OF_ONE if digit == 1 else ASPECT_OF_OTHERS for digit in digits)


def typeset(
    rng: np.random.Generator, digits: tuple[int, ...], height: float, layout: Layout = PUBLISHED
) -> Setting:
    """Sets the number in one random face, its digits about `height` pixels high."""
    face, style = random_face(rng), figures.draw_style(rng)
    stretch = min(1.7, max(0.55, float(np.exp(rng.normal(0, layout.stretch)))))
    drawn = [figures.figure(face, digit, height, style, stretch) for digit in digits]
    corners = _places(rng, drawn, height, layout)
    sizes = np.array([figure.mask.size for figure in drawn])
    pad = round(0.1 * height + 2)
    corners += pad - corners.min(axis=0)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    width, tall = (boxes[:, 2:].max(axis=0) + pad).tolist()
    mask = Image.new("L", (width, tall), 0)
    for figure, (left, top) in zip(drawn, corners.tolist(), strict=True):
        mask.paste(255, (left, top), figure.mask)
    kind = rng.random()
    if kind < 0.03:  # drawn in outline
        wider = mask.filter(ImageFilter.MaxFilter(3 if height < 40 else 5))
        mask = ImageChops.subtract(wider, mask)
    elif kind < 0.5:
        mask = _reweigh(rng, mask, height)
    return Setting(mask, boxes.astype(float))


def _places(
    rng: np.random.Generator, drawn: list[Glyph], height: float, layout: Layout
) -> np.ndarray:
    """int[n, 2]: upper left corners of the figures: a row, a climbing row or a stack."""
    widths = np.array([figure.mask.width for figure in drawn])
    rises, rows = np.array([figure.rise for figure in drawn]), np.arange(len(drawn))
    kind = rng.random()
    spread = height * (rng.uniform(0.02, 0.1) if rng.random() < 0.12 else 0.005)
    base = rng.normal(0, spread, len(drawn)) - rises
    if kind < layout.stacked:
        step = height * (1 + rng.uniform(0.06, 0.3 if rng.random() < 0.6 else 0.9))
        lean = rng.normal(0, 0.1) * height if rng.random() < 0.2 else 0.0
        left, base = rows * lean - widths / 2, base + rows * step
    else:
        climbs = kind < layout.stacked + layout.climbing
        is_apart = climbs or rng.random() < layout.apart
        gap = height * (rng.uniform(0.1, 0.55) if is_apart else rng.normal(0.03, 0.05))
        advances = np.array([figure.advance for figure in drawn])
        # between the even gaps of signs and the advance widths of type
        steps = np.maximum(0.5 * (widths + 0.1 * height + advances), widths) + gap
        left = np.cumsum(steps) - steps
        if climbs:  # figures fixed one by one along a slope, upright
            base = base + left * rng.choice((-1, 1), p=(0.7, 0.3)) * rng.uniform(0.1, 0.7)
    return np.rint(np.stack([left, base], axis=1)).astype(int)


def _reweigh(rng: np.random.Generator, mask: Image.Image, height: float) -> Image.Image:
    """Bolder or lighter strokes with rounder corners: a blurred mask, cut at a random level."""
    soft = mask.filter(ImageFilter.GaussianBlur(height * rng.uniform(0.015, 0.045)))
    pixels = np.asarray(soft, np.float32)
    level = min(255 * rng.uniform(0.25, 0.52), 0.6 * float(pixels.max()))  # hairlines stay
    cut = (pixels - np.float32(level)) * 3 + 128
    return Image.fromarray(cut.clip(0, 255).astype(np.uint8))
