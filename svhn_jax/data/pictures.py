"""Draws sheets of crops with their labels or readings."""

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svhn_jax import labels

TILE = 120  # side of a picture on a sheet, pixels
CAPTION, FONT = 18, 12  # height of the strip below, and of its letters
Color = tuple[int, int, int]
RIGHT, WRONG, TEXT = (120, 220, 120), (255, 120, 110), (230, 230, 230)


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
    captions: list[tuple[str, Color]] = []
    for row, truth in enumerate(truths):
        text, color = labels.decode(truth), TEXT
        if predictions is not None:
            is_right = labels.decode(predictions[row]) == text
            text = text if is_right else f"{labels.shown(predictions[row])}, is {text}"
            color = RIGHT if is_right else WRONG
        captions.append((text, color))
    font = ImageFont.load_default(FONT)
    width = max([TILE, *(math.ceil(font.getlength(text)) + 5 for text, _ in captions)])
    rows, height = max(1, -(-len(captions) // columns)), TILE + CAPTION
    sheet = Image.new("RGB", (columns * width, rows * height))
    draw = ImageDraw.Draw(sheet)
    for index, (image, (text, color)) in enumerate(zip(images, captions, strict=True)):
        x, y = index % columns * width, index // columns * height
        picture = Image.fromarray(np.asarray(image))
        sheet.paste(picture.resize((TILE - 2, TILE - 2), reducing_gap=3), (x, y))
        draw.text((x + 2, y + TILE - 2), text, font=font, fill=color)
    return sheet


def png(picture: Image.Image, *, compress_level: int = 6) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=compress_level)
    return stream.getvalue()
