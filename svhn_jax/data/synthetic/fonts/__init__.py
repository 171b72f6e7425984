"""The fonts of rendered numbers; README.md names their sources and licenses."""

import functools
import io
from importlib import resources

import numpy as np
from PIL import ImageFont

# Relative frequency of a face: 1 unless its file name begins with one of these. Set by eye: real
# train photos show mostly grotesques, and Clarendon and Didone figures of enamel plates; script,
# marker and display faces are rare.
WEIGHTS = {
    "besley": 3.0,
    "bodoni-moda": 4.0,
    "didone-fat": 2.5,
    "old-standard-tt": 3.0,
    "serif-face-2": 2.5,
    "libre-caslon": 2.0,
    "serif-face": 1.5,
    "arimo": 3.0,
    "inter": 2.0,
    "barlow": 2.0,
    "roboto": 1.5,
    "oswald": 1.5,
    "tinos": 1.5,
    "amatic": 0.4,
    "architects": 0.4,
    "black-ops": 0.4,
    "blackletter": 0.5,
    "bungee": 0.5,
    "caprasimo": 0.5,
    "caveat": 0.3,
    "cinzel": 0.5,
    "deco-": 0.4,
    "didone-display": 0.4,
    "eb-garamond": 0.5,
    "gelasio": 0.5,
    "italianno": 0.4,
    "kalam": 0.5,
    "medievalsharp": 0.3,
    "michroma": 0.2,
    "pacifico": 0.4,
    "permanent-marker": 0.3,
    "poiret": 0.4,
    "saira-stencil": 0.4,
    "script-face-2": 0.4,
    "script-face-4": 0.4,
    "serif-face-9": 0.4,
    "serif-face-11": 0.4,
    "shrikhand": 0.4,
    "slab-heavy": 0.5,
    "tech-mono": 0.4,
}


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
def _font(index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(
        io.BytesIO(_font_files()[0][index]), size, layout_engine=ImageFont.Layout.BASIC
    )


@functools.cache
def _zero_height(index: int) -> float:
    """Height of the figure 0 as a share of the type size."""
    box = _font(index, 100).getbbox("0")
    return (box[3] - box[1]) / 100


def random_font(rng: np.random.Generator, digit_height: float) -> ImageFont.FreeTypeFont:
    """A random face at a size at which its figure 0 is about `digit_height` pixels high."""
    index = int(np.searchsorted(_font_files()[1], rng.random()))
    return _font(index, max(4, 2 * round(digit_height / _zero_height(index) / 2)))
