"""The fonts of rendered numbers; README.md names their sources and licenses."""

import functools
import io
from importlib import resources
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GLYPH = 112  # pixels

# Relative frequency of a face: 1 unless its file name begins with one of these. Set by eye: real
# train photos show mostly grotesques, and Clarendon and Didone figures of enamel plates; script,
# marker and display faces are rare.
FACES_OF_WEIGHT = {
    4.0: "bodoni-moda",
    3.0: "besley old-standard-tt arimo",
    2.5: "didone-fat serif-face-2",
    2.0: "libre-caslon inter barlow",
    1.5: "serif-face roboto oswald tinos",
    0.5: "blackletter bungee caprasimo cinzel eb-garamond gelasio kalam slab-heavy",
    0.4: "amatic architects black-ops deco- didone-display italianno pacifico poiret "
    "saira-stencil script-face-2 script-face-4 serif-face-9 serif-face-11 shrikhand "
    "tech-mono",
    0.3: "caveat medievalsharp permanent-marker",
    0.2: "michroma",
}
WEIGHTS = {face: weight for weight, faces in FACES_OF_WEIGHT.items() for face in faces.split()}


class Glyph(NamedTuple):
    """The ink of a digit: a tight uint8 mask, its top above the base line, its advance; pixels."""

    mask: Image.Image
    rise: float
    advance: float


@functools.cache
def _font_files() -> tuple[tuple[bytes, ...], np.ndarray]:
    """The files, in the order of their names, and float[files] of cumulative probabilities."""
    folder = resources.files(__name__)
    files = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".ttf")),
        key=lambda item: item.name,
    )
    # the longest match decides
    matches = [[word for word in WEIGHTS if file.name.startswith(word)] for file in files]
    weights = np.array([WEIGHTS[max(words, key=len)] if words else 1.0 for words in matches])
    return tuple(file.read_bytes() for file in files), np.cumsum(weights) / weights.sum()


@functools.lru_cache(maxsize=2048)
def _font(face: int, size: int) -> ImageFont.FreeTypeFont:
    content = io.BytesIO(_font_files()[0][face])
    return ImageFont.truetype(content, size, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def _size(face: int) -> float:
    """Type size at which the figure 0 is one pixel high."""
    box = _font(face, 100).getbbox("0")
    return 100 / (box[3] - box[1])


def random_face(rng: np.random.Generator) -> int:
    """The number of a face."""
    return int(np.searchsorted(_font_files()[1], rng.random()))


def random_font(rng: np.random.Generator, digit_height: float) -> ImageFont.FreeTypeFont:
    """A random face at a size at which its figure 0 is about `digit_height` pixels high."""
    face = random_face(rng)
    return _font(face, max(4, 2 * round(digit_height * _size(face) / 2)))


@functools.cache
def glyph(face: int, digit: int) -> Glyph:
    """A digit of this face, large: GLYPH pixels is the height of its figure 0."""
    font, character = _font(face, round(GLYPH * _size(face))), str(digit)
    left, top, right, bottom = map(int, font.getbbox(character, anchor="ls"))
    mask = Image.new("L", (max(1, right - left), max(1, bottom - top)), 0)
    ImageDraw.Draw(mask).text((-left, -top), character, font=font, anchor="ls", fill=255)
    return Glyph(mask, -top, font.getlength(character))
