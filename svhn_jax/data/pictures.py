"""Draws sheets of crops or photos with their labels, boxes and predictions."""

import io
import math
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svhn_jax import labels
from svhn_jax.data.crop import Box

TILE, PHOTO = 120, 144  # sides of a crop and of a photo on a sheet, pixels
CAPTION, FONT = 18, 12  # height of the strip below, and of its letters
LONGER_SIDE = (640, 1600)  # of a photo in `annotated`: at least, at most
STRIP, LEAST_WIDTH = 56, 480  # of `annotated`: height of the strip below the photo; its own width
Color = tuple[int, int, int]
RIGHT, WRONG, TEXT, BOX = (120, 220, 120), (255, 120, 110), (230, 230, 230), (255, 210, 0)
BACKGROUND = (40, 40, 40)


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
        crop = Image.fromarray(np.asarray(image)).resize((TILE - 2, TILE - 2))
        tiles.append((crop, text, color))
    longest = "0" * labels.max_digits_of(truths) + "+"
    longest = longest if predictions is None else f"{longest}, is {longest}"
    width = max(TILE, math.ceil(ImageFont.load_default(FONT).getlength(longest)) + 5)
    return _sheet(tiles, (width, TILE), columns)


def tile_sheet(tiles: Sequence[tuple[Image.Image, str, str]], *, columns: int = 8) -> Image.Image:
    """A sheet of pictures made by `tile`, each above its number and the photo's name."""
    font = ImageFont.load_default(FONT)
    captions = [caption(number, name, PHOTO - 8, font) for _, number, name in tiles]
    pictures = [(tile[0], text, TEXT) for tile, text in zip(tiles, captions, strict=True)]
    return _sheet(pictures, (PHOTO, PHOTO), columns)


def _sheet(
    tiles: Sequence[tuple[Image.Image, str, Color]], size: tuple[int, int], columns: int
) -> Image.Image:
    (width, height), rows = size, max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * width, rows * (height + CAPTION)))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for index, (picture, text, color) in enumerate(tiles):
        x, y = index % columns * width, index // columns * (height + CAPTION)
        sheet.paste(picture, (x, y))
        draw.text((x + 2, y + height - 2), text, font=font, fill=color)
    return sheet


def png(picture: Image.Image, *, compress_level: int = 6) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=compress_level)
    return stream.getvalue()


def input_pictures(inputs: np.ndarray) -> np.ndarray:
    """Inputs of the network, float32[N, s, s, C], as uint8[N, s, s, 3] between their extremes."""
    low, high = (find(inputs, axis=(1, 2, 3), keepdims=True) for find in (np.min, np.max))
    pictures = (inputs - low) / np.maximum(high - low, 1e-6) * 255
    return np.broadcast_to(pictures, (*inputs.shape[:3], 3)).astype(np.uint8)


def tile(photo: Image.Image, boxes: np.ndarray, *, skipped: str = "") -> Image.Image:
    """A small square picture of a photo, with lines above and below the boxes of its digits.

    Args:
      photo: of any size.
      boxes: float[n, 4], left, top, width, height in its pixels.
      skipped: why the photo is not used; the picture is then dimmed and shows the reason.
    """
    side = PHOTO - 4
    scale = side / max(photo.size)
    size = [max(1, round(length * scale)) for length in photo.size]
    x, y = ((side - length) // 2 for length in size)
    picture = Image.new("RGB", (side, side), BACKGROUND)
    picture.paste(photo.resize((size[0], size[1]), reducing_gap=3), (x, y))
    draw = ImageDraw.Draw(picture)
    for left, top, width, height in (boxes * scale + (x, y, 0, 0)).tolist():
        above, below = math.floor(top) - 2, math.ceil(top + height) + 1
        for edge in (min(max(0, edge), side - 2) for edge in (above, below)):
            draw.rectangle((left + 1, edge, left + width - 1, edge + 1), fill=BOX)
    if skipped:
        picture = picture.point(lambda value: value // 3)
        text, font = "\n".join(textwrap.wrap(f"skipped: {skipped}", 20)), ImageFont.load_default(12)
        ImageDraw.Draw(picture).text((4, 2), text, font=font, fill=WRONG)
    return picture


def caption(
    number: str, name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """Number and name in at most `width` pixels; of a longer name the start is left out."""
    text, start = f"{number}  {name}", 0
    while font.getlength(text) > width and start < len(name):
        start += 1
        text = f"{number}  …{name[start:]}"
    return text


def annotated(
    photo: Image.Image, box: Box | None, number: str, note: str, name: str, *, color: Color
) -> Image.Image:
    """A picture of a photo with the number's box, above a strip with text.

    Small photos are enlarged and large ones reduced. The box is drawn around the number.

    Args:
      photo: of any size, RGB.
      box: in its pixels; None for none.
      number, note, name: text; of a long name the start is left out.
      color: of the number.
    """
    least, most = LONGER_SIDE
    scale = min(max(max(photo.size), least), most) / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    photo = photo.resize((width, height), reducing_gap=3)
    if box:
        left, top, right, bottom = (side * scale for side in box)
        around = [
            math.floor(left) - 4,
            math.floor(top) - 4,
            math.ceil(right) + 3,
            math.ceil(bottom) + 3,
        ]
        ImageDraw.Draw(photo).rectangle(around, outline=BOX, width=3)
    picture = Image.new("RGB", (max(width, LEAST_WIDTH), height + STRIP), BACKGROUND)
    picture.paste(photo, ((picture.width - width) // 2, 0))
    draw, middle = ImageDraw.Draw(picture), height + STRIP // 2
    large, small = ImageFont.load_default(36), ImageFont.load_default(16)
    draw.text((12, middle), number, font=large, fill=color, anchor="lm")
    start = 36 + large.getlength(number)
    text = caption(note, name, int(picture.width - start - 12), small)
    draw.text((start, middle), text, font=small, fill=TEXT, anchor="lm")
    return picture
