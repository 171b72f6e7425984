"""Pictures for people: sheets of crops with what stands there and what was read."""

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
