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
FACES = [
    *(
        f"DejaVu{face}.ttf"
        for face in ("Sans", "Sans-Bold", "SansMono", "SansMono-Bold", "Serif", "Serif-Bold")
    ),
    *("STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf"),
]  # of all letters; they come with matplotlib


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
