"""Draws sheets of crops or photos with their labels, boxes and predictions."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svhn_jax import labels
from svhn_jax.data.crop import Box

TILE = 120  # side of a picture on a sheet, pixels
CAPTION, FONT = 18, 12  # height of the strip below, and of its letters
NAME_SHOWN = 24  # characters
Color = tuple[int, int, int]
RIGHT, WRONG, TEXT, BOX = (120, 220, 120), (255, 120, 110), (230, 230, 230), (255, 210, 0)


def contact_sheet(
    images: np.ndarray,
    truths: np.ndarray,
    predictions: np.ndarray | None = None,
    *,
    columns: int = 8,
) -> Image.Image:
    """A sheet of crops with their labels, or with their predictions and the labels that differ.

        split = arrays.load_split("data/full", "test")
        contact_sheet(split.images[:24], split.labels[:24]).save("sheet.png")

    Args:
      images: uint8[N, S, S, 3].
      truths: int32[N, 1 + D].
      predictions: int32[N, 1 + D], or None for labels alone.
    """
    tiles: list[tuple[Image.Image, str, Color]] = []
    for row, (image, truth) in enumerate(zip(images, truths, strict=True)):
        text, color = labels.decode(truth), TEXT
        if predictions is not None:
            is_right = labels.decode(predictions[row]) == text
            text = text if is_right else f"{labels.shown(predictions[row])}, is {text}"
            color = RIGHT if is_right else WRONG
        tiles.append((framed(Image.fromarray(np.asarray(image))), text, color))
    return sheet(tiles, columns=columns)


def sheet(tiles: Sequence[tuple[Image.Image, str, Color]], *, columns: int = 8) -> Image.Image:
    """Pictures of at most TILE pixels a side, each above its caption of one color."""
    font = ImageFont.load_default(FONT)
    width = max([TILE, *(math.ceil(font.getlength(text)) + 5 for _, text, _ in tiles)])
    rows, height = max(1, -(-len(tiles) // columns)), TILE + CAPTION
    whole = Image.new("RGB", (columns * width, rows * height))
    draw = ImageDraw.Draw(whole)
    for index, (picture, text, color) in enumerate(tiles):
        x, y = index % columns * width, index // columns * height
        whole.paste(picture, (x, y))
        draw.text((x + 2, y + TILE - 2), text, font=font, fill=color)
    return whole


def framed(photo: Image.Image, box: Box | None = None, longer_side: int = TILE - 2) -> Image.Image:
    """The photo at that size, with a frame around the number's box; box: in its own pixels."""
    scale = longer_side / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    photo = photo.resize((width, height), reducing_gap=3)
    if box:
        left, top, right, bottom = (side * scale for side in box)
        frame = (
            math.floor(left - 4),
            math.floor(top - 4),
            math.ceil(right + 3),
            math.ceil(bottom + 3),
        )
        ImageDraw.Draw(photo).rectangle(frame, outline=BOX, width=3)
    return photo


def png(picture: Image.Image, *, compress_level: int = 6) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=compress_level)
    return stream.getvalue()


def short(name: str) -> str:
    """The end of a name that is too long for a caption."""
    return name if len(name) <= NAME_SHOWN else f"…{name[1 - NAME_SHOWN :]}"
