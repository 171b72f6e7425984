"""Pictures for people: sheets of crops with what stands there and what was read."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svhn_jax import labels

TILE, CAPTION = 96, 18
RIGHT, WRONG = (120, 220, 120), (255, 120, 110)


def contact_sheet(
    images: np.ndarray, truths: np.ndarray, readings: np.ndarray | None = None, *, columns: int = 8
) -> Image.Image:
    """A sheet of crops, each captioned with its label, or with its reading, and the label where they differ.

    Args:
      images: uint8[N, S, S, 3].
      truths: int32[N, 6].
      readings: int32[N, 6], or None for labels alone.
    """
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * TILE, max(1, rows) * (TILE + CAPTION)))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, (image, truth) in enumerate(zip(images, truths, strict=True)):
        x, y = index % columns * TILE, index // columns * (TILE + CAPTION)
        sheet.paste(Image.fromarray(np.asarray(image)).resize((TILE - 2, TILE - 2)), (x, y))
        text, color = labels.decode(truth), (230, 230, 230)
        if readings is not None:
            reading = labels.decode(readings[index])
            color = RIGHT if reading == text else WRONG
            text = reading if reading == text else f"{reading or 'nothing'}, is {text}"
        draw.text((x + 3, y + TILE - 2), text, font=font, fill=color)
    return sheet


def input_pictures(inputs: np.ndarray) -> np.ndarray:
    """The network's inputs float32[N, s, s, C] as uint8[N, s, s, 3]: each between its darkest and its brightest value."""
    low, high = (find(inputs, axis=(1, 2, 3), keepdims=True) for find in (np.min, np.max))
    pictures = (inputs - low) / np.maximum(high - low, 1e-6) * 255
    return np.broadcast_to(pictures, (*inputs.shape[:3], 3)).astype(np.uint8)


PHOTO, BOX, CAPTION_CHARACTERS = 144, (255, 210, 0), 22


def tile(photo: Image.Image, boxes: np.ndarray) -> Image.Image:
    """A small square picture of a photo, with its boxes float[n, 4] (left, top, width, height in its pixels) drawn."""
    side = PHOTO - 4
    scale = side / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    picture, corner = Image.new("RGB", (side, side), (40, 40, 40)), ((side - size[0]) // 2, (side - size[1]) // 2)
    picture.paste(photo.resize(size, Image.Resampling.BICUBIC, reducing_gap=3), corner)
    draw = ImageDraw.Draw(picture)
    for left, top, width, height in boxes:
        left, top = corner[0] + left * scale, corner[1] + top * scale
        draw.rectangle((left, top, left + width * scale, top + height * scale), outline=BOX)
    return picture


def tile_sheet(tiles: Sequence[tuple[Image.Image, str]], *, columns: int = 8) -> Image.Image:
    """A sheet of pictures made by `tile`, each with its caption below."""
    rows = max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * PHOTO, rows * (PHOTO + CAPTION)))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, (picture, caption) in enumerate(tiles):
        x, y = index % columns * PHOTO, index // columns * (PHOTO + CAPTION)
        sheet.paste(picture, (x, y))
        draw.text((x + 2, y + PHOTO - 3), caption[:CAPTION_CHARACTERS], font=font, fill=(230, 230, 230))
    return sheet
