"""Writing that is no number: lines of letters, as on signs, doors and letter boxes."""

import functools
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svhn_jax.data.synthetic.fonts import random_font
from svhn_jax.data.synthetic.palette import Color, Sides

ALL = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzäöüé&-.")
UNLIKE_DIGITS = list("ACEFHJKLMNPRTUVWXYacdefhkmnprtuvwxy")  # of words too short to tell O from 0
SUBSET = list("ACEHabc")  # what the fonts of the synthetic digits have besides
WITH_DIGITS = list("01234567890123456789ABCDEHabc-/.")
FACES = [
    *(
        f"DejaVu{face}.ttf"
        for face in ("Sans", "Sans-Bold", "SansMono", "SansMono-Bold", "Serif", "Serif-Bold")
    ),
    *("STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf"),
]  # of all letters; they come with matplotlib


def beside(rng: np.random.Generator, number: Sides, unit: float) -> Sides:
    """Where writing stands: below the number, above it, or on one side."""
    wide, high, gap = (unit * rng.uniform((1, 0.3, 0.1), (5, 1.2, 0.5))).tolist()
    left, top, right, bottom = number
    x, y = ((left + right - wide) / 2, (top + bottom - high) / 2) + rng.normal(0, 0.2, 2) * unit
    kind = rng.random()
    if kind < 0.3:
        x = right + gap if kind < 0.2 else left - gap - wide
    else:
        y = bottom + gap if kind < 0.75 else top - gap - high
    return float(x), float(y), float(x) + wide, float(y) + high


def draw_small_print(
    rng: np.random.Generator, photo: Image.Image, number: Sides, fill: Color, unit: float
) -> None:
    """Beside a number, with digits: a letter, a dash, the number of the next door, small print."""
    count = int(rng.integers(1, 4)) if rng.random() < 0.7 else int(rng.integers(4, 12))
    text = "".join(rng.choice(WITH_DIGITS, count))
    height = unit * (rng.uniform(0.3, 1) if count < 4 else rng.uniform(0.12, 0.35))
    left, top, right, bottom = number
    gap, kind = unit * rng.uniform(0.08, 0.5), rng.random()
    place, anchor = ((left + right) / 2, top - gap), "ms"
    if kind < 0.35 and count < 3:
        place, anchor = (
            ((left - gap, bottom), "rs") if kind < 0.15 else ((right + gap, bottom), "ls")
        )
    elif kind < 0.7:
        place = ((left + right) / 2, bottom + gap + height)
    font = random_font(rng, height)
    ImageDraw.Draw(photo).text(place, text, font=font, anchor=anchor, fill=fill)


def draw_words(rng: np.random.Generator, photo: Image.Image, sides: Sides, fill: Color) -> None:
    """One to three lines of letters within the sides."""
    left, top, right, bottom = sides
    lines = int(rng.choice((1, 1, 2, 3)))
    height = (bottom - top) / lines * 0.6
    if height < 3:
        return
    is_plain = rng.random() < 0.75
    if is_plain:
        font = _plain_font(int(rng.integers(len(FACES))), int(height * 1.3))
    else:
        font = random_font(rng, height)
    for line in range(lines):
        count = int(rng.integers(1, 13))
        letters = (ALL if count > 3 else UNLIKE_DIGITS) if is_plain else SUBSET
        text = "".join(rng.choice(letters, count))
        text = text.upper() if is_plain and count > 3 and rng.random() < 0.5 else text
        place = (left + 0.05 * (right - left), top + (line + 0.2) * (bottom - top) / lines)
        ImageDraw.Draw(photo).text(place, text, font=font, fill=fill)


@functools.lru_cache(maxsize=512)
def _plain_font(face: int, size: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / FACES[face], max(4, size))
