"""The number itself: its digits, its typeface and the places of its digits."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from svhn_jax.data.synthetic import figures
from svhn_jax.data.synthetic.fonts import random_font
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


class Setting(NamedTuple):
    """A typeset number: mask uint8 (255: ink), and tight boxes int[n, 4] of its digits.

    A box is left, top, width, height.
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


def natural_aspect(digits: tuple[int, ...]) -> float:
    """Median width / height of the published boxes of a number of these digits."""
    return sum(ASPECT_OF_ONE if digit == 1 else ASPECT_OF_OTHERS for digit in digits)


def typeset(rng: np.random.Generator, digits: tuple[int, ...], height: float) -> Setting:
    """Sets the number in one random face, its digits about `height` pixels high."""
    font, style = random_font(rng, height), figures.draw_style(rng)
    drawn = [figures.figure(font, digit, height, style) for digit in digits]
    corners = _places(rng, drawn, height)
    sizes = np.array([figure.mask.size for figure in drawn])
    pad = round(0.1 * height + 2)
    corners += pad - corners.min(axis=0)
    width, tall = ((corners + sizes).max(axis=0) + pad).tolist()
    mask = Image.new("L", (width, tall), 0)
    for figure, (left, top) in zip(drawn, corners.tolist(), strict=True):
        mask.paste(255, (left, top), figure.mask)
    if rng.random() < 0.03:  # drawn in outline
        mask = ImageChops.subtract(
            mask.filter(ImageFilter.MaxFilter(3 if height < 40 else 5)), mask
        )
    elif rng.random() < 0.5:
        mask = _reweigh(rng, mask, height)
    return Setting(mask, np.concatenate([corners, sizes], axis=1).astype(float))


def _places(rng: np.random.Generator, drawn: list[figures.Figure], height: float) -> np.ndarray:
    """int[n, 2]: upper left corners of the figures along a line; some climb, some go downwards."""
    climbs = rng.random() < 0.08  # figures fixed one by one along a slope, upright
    slope = rng.choice((-1, 1), p=(0.75, 0.25)) * rng.uniform(0.1, 0.6) if climbs else 0.0
    spacing = height * (
        rng.uniform(0.1, 0.45) if climbs or rng.random() < 0.15 else rng.normal(0.03, 0.05)
    )
    jitter = height * (rng.uniform(0.02, 0.1) if rng.random() < 0.12 else 0.005)
    if rng.random() < 0.012:
        step = height * 1.15 + abs(spacing)
        places = [(-one.mask.width // 2, row * step - one.rise) for row, one in enumerate(drawn)]
        return np.array(places, int)
    corners, x = [], 0.0
    for figure in drawn:
        corners.append((x, x * slope + rng.normal(0, jitter) - figure.rise))
        width = figure.mask.width
        # between the even gaps of signs and the advance widths of type
        x += max(0.5 * (width + 0.1 * height + figure.advance), width) + spacing
    return np.rint(corners).astype(int)


def _reweigh(rng: np.random.Generator, mask: Image.Image, height: float) -> Image.Image:
    """Bolder or lighter strokes with rounder corners: a blurred mask, cut at a random level."""
    level, steepness = 255 * rng.uniform(0.25, 0.52), 3.0
    table = [int(min(255, max(0, (value - level) * steepness + 128))) for value in range(256)]
    return mask.filter(ImageFilter.GaussianBlur(height * rng.uniform(0.02, 0.045))).point(table)


def _pick(rng: np.random.Generator, shares: tuple[float, ...]) -> int:
    """An index, with the probability of its share."""
    sums = np.cumsum(shares)
    return int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
