"""The generator's fonts; README.md beside them says where each comes from."""

import functools
import io
from importlib import resources

import numpy as np
from PIL import ImageFont


@functools.cache
def _font_files() -> tuple[bytes, ...]:
    folder = resources.files(__name__)
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".ttf")), key=lambda item: item.name)
    return tuple(item.read_bytes() for item in files)


@functools.lru_cache(maxsize=256)
def _font(index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(_font_files()[index]), size, layout_engine=ImageFont.Layout.BASIC)


def random_font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    return _font(int(rng.integers(len(_font_files()))), size)
