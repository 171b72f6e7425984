"""Draws sheets of crops or photos with their labels, boxes and predictions."""

import io
import math
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svhn_jax import labels
from svhn_jax.data.crop import Box

TILE, CAPTION = 120, 18  # wide enough for the longest caption of five digits, "12345+, is 67890+"
Color = tuple[int, int, int]
RIGHT, WRONG = (120, 220, 120), (255, 120, 110)


def contact_sheet(
    images: np.ndarray,
    truths: np.ndarray,
    predictions: np.ndarray | None = None,
    *,
    columns: int = 8,
) -> Image.Image:
    """A sheet of crops, each with its label, or with its prediction, and the label if they differ.

        split = arrays.load_split("data/full", "test")
        contact_sheet(split.images[:24], split.labels[:24]).save("sheet.png")

    Args:
      images: uint8[N, S, S, 3].
      truths: int32[N, 1 + D].
      predictions: int32[N, 1 + D], or None for labels alone.
    """
    rows, font = -(-len(images) // columns), ImageFont.load_default(13)
    captions = [
        _reading(truth, None if predictions is None else predictions[row])
        for row, truth in enumerate(truths)
    ]
    longest = "0" * labels.max_digits_of(truths) + "+"
    longest = longest if predictions is None else f"{longest}, is {longest}"
    width = max(TILE, math.ceil(font.getlength(longest)) + 5)
    sheet = Image.new("RGB", (columns * width, max(1, rows) * (TILE + CAPTION)))
    draw = ImageDraw.Draw(sheet)
    for index, (image, (text, color)) in enumerate(zip(images, captions, strict=True)):
        x, y = index % columns * width, index // columns * (TILE + CAPTION)
        sheet.paste(Image.fromarray(np.asarray(image)).resize((TILE - 2, TILE - 2)), (x, y))
        draw.text((x + 3, y + TILE - 2), text, font=font, fill=color)
    return sheet


def png(picture: Image.Image, *, compress_level: int = 6) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=compress_level)
    return stream.getvalue()


def _reading(truth: np.ndarray, prediction: np.ndarray | None) -> tuple[str, tuple[int, int, int]]:
    """The text below a crop, and its colour."""
    text = labels.decode(truth)
    if prediction is None:
        return text, (230, 230, 230)
    predicted = labels.decode(prediction)
    return (text, RIGHT) if predicted == text else (f"{labels.shown(prediction)}, is {text}", WRONG)


def input_pictures(inputs: np.ndarray) -> np.ndarray:
    """The network's inputs float32[N, s, s, C] as uint8[N, s, s, 3], each scaled from its minimum to its maximum."""
    low, high = (find(inputs, axis=(1, 2, 3), keepdims=True) for find in (np.min, np.max))
    pictures = (inputs - low) / np.maximum(high - low, 1e-6) * 255
    return np.broadcast_to(pictures, (*inputs.shape[:3], 3)).astype(np.uint8)


PHOTO, BOX, GAP = 144, (255, 210, 0), 2


def tile(photo: Image.Image, boxes: np.ndarray, *, skipped: str = "") -> Image.Image:
    """A small square picture of a photo with its boxes float[n, 4] (left, top, width, height in its pixels).

    A box is drawn as two brackets, above and below it, so that no digit is covered.

    Args:
      photo: of any size.
      boxes: of the digits.
      skipped: why the photo is not used; the picture is then dimmed and shows the reason.
    """
    side = PHOTO - 4
    scale = side / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    picture, corner = (
        Image.new("RGB", (side, side), (40, 40, 40)),
        ((side - size[0]) // 2, (side - size[1]) // 2),
    )
    picture.paste(photo.resize(size, Image.Resampling.BICUBIC, reducing_gap=3), corner)
    draw = ImageDraw.Draw(picture)
    for left, top, width, height in boxes:
        left, top = corner[0] + left * scale, corner[1] + top * scale
        right, bottom = left + width * scale - 1, top + height * scale
        for edge, away in ((math.floor(top), -1), (math.ceil(bottom), 1)):
            near, far = (min(max(0, edge + away * distance), side - 1) for distance in (1, 1 + GAP))
            draw.line([(left + 1, near), (left + 1, far), (right, far), (right, near)], fill=BOX)
    if not skipped:
        return picture
    picture = picture.point(lambda value: value // 3)
    text = "\n".join(textwrap.wrap(f"skipped: {skipped}", 20))
    ImageDraw.Draw(picture).text((4, 2), text, font=ImageFont.load_default(12), fill=WRONG)
    return picture


def tile_sheet(tiles: Sequence[tuple[Image.Image, str, str]], *, columns: int = 8) -> Image.Image:
    """A sheet of pictures made by `tile`, each above its number and the photo's name."""
    rows = max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * PHOTO, rows * (PHOTO + CAPTION)))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, (picture, number, name) in enumerate(tiles):
        x, y = index % columns * PHOTO, index // columns * (PHOTO + CAPTION)
        sheet.paste(picture, (x, y))
        draw.text(
            (x + 2, y + PHOTO - 3),
            caption(number, name, PHOTO - 8, font),
            font=font,
            fill=(230, 230, 230),
        )
    return sheet


def caption(
    number: str, name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """Number and name in at most `width` pixels; a longer name is cut at its start, with an ellipsis."""
    text, start = f"{number}  {name}", 0
    while font.getlength(text) > width and start < len(name):
        start += 1
        text = f"{number}  …{name[start:]}"
    return text


LONGER_SIDE = (640, 1600)  # of a photo in `annotated`, at least and at most, in pixels
STRIP, LEAST_WIDTH = (
    56,
    480,
)  # of the picture: height of the strip below the photo, where it is 640 wide; its own width


def annotated(
    photo: Image.Image, box: Box | None, number: str, note: str, name: str, *, color: Color
) -> Image.Image:
    """A picture of a photo with the number's box, above a strip with the number, a note and the photo's name.

    Small photos are enlarged and large ones reduced, so that both can be seen and the text be read. The box is drawn
    around the number, so that no digit is covered.

    Args:
      photo: of any size, RGB.
      box: in its pixels; None for none.
      number, note, name: text; of a long name the start is left out.
      color: of the number.
    """
    least, most = LONGER_SIDE
    scale = min(max(max(photo.size), least), most) / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    unit = max(1.0, width / least)
    strip, space = round(STRIP * unit), round(12 * unit)
    picture = Image.new("RGB", (max(width, LEAST_WIDTH), height + strip), (40, 40, 40))
    photo = photo.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3)
    if box:
        _outline(photo, [side * scale for side in box], round(3 * unit))
    picture.paste(photo, ((picture.width - width) // 2, 0))
    draw, middle = ImageDraw.Draw(picture), height + strip // 2
    large, small = (ImageFont.load_default(size * unit) for size in (36, 16))
    draw.text((space, middle), number, font=large, fill=color, anchor="lm")
    left = space + large.getlength(number) + 2 * space
    text = caption(note, name, int(picture.width - left - space), small)
    draw.text((left, middle), text, font=small, fill=(230, 230, 230), anchor="lm")
    return picture


def _outline(photo: Image.Image, box: list[float], line: int) -> None:
    """Draws a bright line within dark ones around a box (left, top, right, bottom), as far as it lies in the photo."""
    draw = ImageDraw.Draw(photo)
    for away, width, color in ((line + 1, 1, (0, 0, 0)), (line, line, BOX), (0, 1, (0, 0, 0))):
        left, top = (max(0, math.floor(side) - 1 - away) for side in box[:2])
        right, bottom = (min(photo.size[i] - 1, math.ceil(box[2 + i]) + away) for i in (0, 1))
        if left <= right and top <= bottom:
            draw.rectangle((left, top, right, bottom), outline=color, width=width)
