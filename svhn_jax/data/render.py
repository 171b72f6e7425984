"""Synthetic house-number photos: a wall, perhaps a plate, a number, a camera.

Every choice is drawn from one numpy Generator, so a photo is a pure function of its seed.
Geometry follows the published annotations (33,402 train photos): number height 1 % 12 px,
median 31, 99 % 112; width/height median 0.95; photos about three times as wide as the number
and 1.7 times as high.
"""

import functools
import io
from importlib import resources
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

LENGTH_COUNTS = (5137, 18130, 8691, 1434, 9)  # numbers of 1 ... 5 digits in the published train split
CLUTTER_CHARACTERS = "0123456789ABCDEHabc-/."
PLATE_SHARES = (0.3, 0.08, 0.16, 0.14, 0.1, 0.06, 0.04, 0.04, 0.04, 0.04)
PLATES = (  # (plate colour, ink colour), as on European and American streets
    ((28, 52, 130), (235, 238, 240)),
    ((22, 34, 84), (225, 225, 225)),
    ((240, 240, 236), (30, 52, 140)),
    ((238, 236, 228), (25, 25, 28)),
    ((24, 24, 26), (232, 230, 224)),
    ((206, 172, 60), (35, 30, 24)),
    ((226, 200, 70), (30, 40, 110)),
    ((170, 120, 60), (40, 26, 16)),
    ((30, 90, 50), (232, 226, 180)),
    ((140, 28, 30), (236, 224, 210)),
)
Color = tuple[int, int, int]


class Rendering(NamedTuple):
    """A photo and, in reading order, its digits and boxes int[n, 4] (left, top, width, height)."""

    photo: Image.Image
    digits: tuple[int, ...]
    boxes: np.ndarray


def draw_digits(rng: np.random.Generator) -> tuple[int, ...]:
    """A number: length as in the published train split, first digit by Benford's law, no leading zero."""
    length = 1 + int(rng.choice(len(LENGTH_COUNTS), p=np.array(LENGTH_COUNTS) / sum(LENGTH_COUNTS)))
    first = int(rng.choice(9, p=np.log10(1 + 1 / np.arange(1, 10)))) + 1
    return (first, *(int(digit) for digit in rng.integers(0, 10, length - 1)))


def render(rng: np.random.Generator) -> Rendering:
    """One synthetic photo."""
    digits = draw_digits(rng)
    mask, boxes = _typeset(rng, "".join(map(str, digits)))
    number_height = float(np.clip(31 * np.exp(rng.normal(0, 0.47)), 10, 115))
    scale = number_height / max(1.0, _extent(boxes)[1])
    if len(digits) * 0.5 * number_height > 160:
        scale *= 0.6
    mask, boxes = _warp(rng, mask, boxes, scale)

    number_width, number_height = _extent(boxes)
    width = int(max(24, number_width * rng.uniform(1.25, 3.4) + 4))
    height = int(max(13, number_height * rng.uniform(1.15, 2.2) + 4))
    left, top = rng.beta(5, 5, 2) * [max(1.0, width - number_width), max(1.0, height - number_height)]
    # The scene is drawn larger than the photo, so that the camera may turn and still see wall.
    rim = int(0.15 * max(width, height)) + 2
    corner = np.rint([left + rim, top + rim] - boxes[:, :2].min(axis=0)).astype(int)
    boxes[:, :2] += corner

    photo, ink = _scene(rng, (width + 2 * rim, height + 2 * rim), boxes, number_height)
    ink_layer = Image.new("L", photo.size, 0)
    ink_layer.paste(mask, (int(corner[0]), int(corner[1])))
    photo = _paint(rng, photo, ink_layer, ink, number_height)
    photo, boxes = _turn_camera(rng, photo, boxes, (width, height))
    photo = _expose(rng, photo, number_height)
    return Rendering(photo, digits, _annotate(rng, boxes))


def _annotate(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """Boxes as a person draws them: whole pixels, off by about 3 % of the height."""
    slack = rng.normal(0.02, 0.03, boxes.shape) * boxes[:, 3:]
    drawn = boxes + np.concatenate([-slack[:, :2], slack[:, :2] + slack[:, 2:]], axis=1)
    drawn = np.rint(drawn).astype(int)
    drawn[:, 2:] = np.maximum(drawn[:, 2:], 2)
    return drawn


def _extent(boxes: np.ndarray) -> tuple[float, float]:
    """(width, height) of the union of boxes."""
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return float(high[0] - low[0]), float(high[1] - low[1])


@functools.cache
def _font_files() -> tuple[bytes, ...]:
    folder = resources.files("svhn_jax.data") / "fonts"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".ttf")), key=lambda item: item.name)
    return tuple(item.read_bytes() for item in files)


@functools.lru_cache(maxsize=256)
def _font(index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(_font_files()[index]), size, layout_engine=ImageFont.Layout.BASIC)


def _random_font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    return _font(int(rng.integers(len(_font_files()))), size)


TYPE_SIZE = 64  # pixels; numbers are set at this size and then scaled down or up by the warp


def _typeset(rng: np.random.Generator, text: str) -> tuple[Image.Image, np.ndarray]:
    """The number in black and white at type size: its mask and the digits' tight boxes."""
    font = _random_font(rng, TYPE_SIZE)
    spacing = rng.uniform(-0.03, 0.22) * TYPE_SIZE if rng.random() < 0.9 else rng.uniform(0.2, 0.5) * TYPE_SIZE
    jitter = 0.05 if rng.random() < 0.15 else 0.004
    slope = rng.uniform(0.15, 0.5) * rng.choice((-1, 1)) if rng.random() < 0.04 else 0.0
    is_vertical = len(text) > 1 and rng.random() < 0.015
    pen, glyphs = np.array([float(TYPE_SIZE), TYPE_SIZE * 2.0]), []
    for character in text:
        box = font.getbbox(character, anchor="ls")
        at = pen + np.array([0.0, rng.normal(0, jitter) * TYPE_SIZE])
        glyphs.append((character, at, np.array([at[0] + box[0], at[1] + box[1], box[2] - box[0], box[3] - box[1]])))
        advance = font.getlength(character) + spacing
        pen += np.array([0.0, TYPE_SIZE * 1.0 + spacing]) if is_vertical else np.array([advance, slope * advance])
    boxes = np.stack([box for _, _, box in glyphs]).astype(float)
    offset = boxes[:, :2].min(axis=0) - 8
    boxes[:, :2] -= offset
    size = np.ceil((boxes[:, :2] + boxes[:, 2:]).max(axis=0)).astype(int) + 8
    mask = Image.new("L", (int(size[0]), int(size[1])), 0)
    draw = ImageDraw.Draw(mask)
    outline = int(rng.integers(2, 4)) if rng.random() < 0.04 else 0
    for character, at, _ in glyphs:
        place = (at[0] - offset[0], at[1] - offset[1])
        if outline:
            draw.text(place, character, font=font, anchor="ls", fill=0, stroke_width=outline, stroke_fill=255)
        else:
            draw.text(place, character, font=font, anchor="ls", fill=255)
    return mask, boxes


def _warp(
    rng: np.random.Generator, mask: Image.Image, boxes: np.ndarray, scale: float
) -> tuple[Image.Image, np.ndarray]:
    """Stretches, slants and scales the mask; the boxes become those of the warped digits."""
    stretch = float(np.exp(rng.normal(0, 0.13)))
    slant = rng.normal(0, 0.09) if rng.random() < 0.7 else rng.normal(0, 0.22)
    keystone = rng.normal(0, 0.03)
    matrix = np.array([[stretch, slant], [keystone, 1.0]]) * scale
    moved = _move_boxes(boxes, matrix)
    origin = moved[:, :2].min(axis=0) - 0.3 * np.array(_extent(moved))[1] - 3
    size = np.ceil((moved[:, :2] + moved[:, 2:]).max(axis=0) - 2 * origin + moved[:, :2].min(axis=0)).astype(int)
    if scale < 1:  # blur first, or thin strokes alias away
        mask = mask.filter(ImageFilter.GaussianBlur(0.4 / scale))
    moved[:, :2] -= origin
    return _transform(mask, matrix, origin, (int(size[0]), int(size[1]))), moved


def _turn_camera(
    rng: np.random.Generator, photo: Image.Image, boxes: np.ndarray, size: tuple[int, int]
) -> tuple[Image.Image, np.ndarray]:
    """Turns the whole scene about its middle and cuts it to the photo's size."""
    angle = np.deg2rad(rng.normal(0, 3.5) if rng.random() < 0.8 else rng.normal(0, 10.0))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    origin = matrix @ (np.array(photo.size) / 2) - np.array(size) / 2
    moved = _move_boxes(boxes, matrix)
    moved[:, :2] -= origin
    return _transform(photo, matrix, origin, size), moved


def _move_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes around the digits after `matrix`. A digit leaves its box's corners mostly empty, so a
    sheared box grows by two thirds of what the rectangle around its four corners would."""
    centers = (boxes[:, :2] + boxes[:, 2:] / 2) @ matrix.T
    scaled = boxes[:, 2:] * np.abs(np.diag(matrix))
    sheared = boxes[:, :1:-1] * np.abs(np.fliplr(matrix).diagonal())
    sides = scaled + 0.67 * sheared
    return np.concatenate([centers - sides / 2, sides], axis=1)


def _transform(image: Image.Image, matrix: np.ndarray, origin: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The image after `matrix`, seen through a window of `size` pixels whose corner is `origin`."""
    inverse = np.linalg.inv(matrix)
    start = inverse @ origin
    coefficients = (inverse[0, 0], inverse[0, 1], start[0], inverse[1, 0], inverse[1, 1], start[1])
    return image.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)


def _noise(rng: np.random.Generator, size: tuple[int, int], cell: float, strength: float) -> np.ndarray:
    """float32[H, W, 1] of smooth noise, blobs of about `cell` pixels."""
    cells = (max(2, int(size[1] / cell)), max(2, int(size[0] / cell)))
    coarse = Image.fromarray(rng.normal(0, strength, cells).astype(np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BILINEAR))[..., None]


def _wall_color(rng: np.random.Generator) -> np.ndarray:
    """float[3]: mostly greyish and brownish, sometimes any colour."""
    value = rng.uniform(25, 240)
    tint = rng.normal(0, 7, 3) + rng.uniform(0, 1) * np.array([12.0, 2.0, -14.0])
    if rng.random() < 0.12:
        tint = rng.normal(0, 35, 3)
    return np.clip(value + tint, 5, 250)


def _scene(
    rng: np.random.Generator, size: tuple[int, int], boxes: np.ndarray, number_height: float
) -> tuple[Image.Image, Color]:
    """The wall with what hangs on it, all but the number; and the colour of the number's ink."""
    wall = _wall_color(rng)
    pixels = np.broadcast_to(wall.astype(np.float32), (size[1], size[0], 3)).copy()
    pixels += _noise(rng, size, number_height * rng.uniform(0.3, 2), rng.uniform(0, 9))
    if rng.random() < 0.4:
        pixels += _noise(rng, size, 2, rng.uniform(2, 14))
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(photo)
    if rng.random() < 0.35:
        _draw_courses(rng, draw, size, wall, number_height)
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    ink: Color
    if rng.random() < 0.62:
        plate, ink = PLATES[int(rng.choice(len(PLATES), p=PLATE_SHARES))]
        fade = rng.uniform(0, 0.5)
        plate = _mix(_vary(rng, plate, 13), _rgb(wall), fade * 0.4)
        ink = _mix(_vary(rng, ink, 14), plate, fade)
        _draw_plate(rng, draw, low, high, plate, ink, number_height)
        ground: Color = plate
    else:
        ground = _rgb(wall)
        ink = _ink_for(rng, wall)
    _draw_clutter(rng, draw, size, boxes, number_height, ground, ink)
    return photo, ink


def _draw_courses(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int], wall: np.ndarray, unit: float
) -> None:
    """Bricks, boards or a door frame."""
    joint = _rgb(np.clip(wall + rng.normal(0, 45), 0, 255))
    step = max(4.0, unit * rng.uniform(0.25, 1.2))
    kind, line = rng.random(), int(rng.integers(1, 3))
    start = rng.uniform(0, step)
    if kind < 0.75:
        for row, y in enumerate(np.arange(start, size[1], step)):
            draw.line([(0, y), (size[0], y)], fill=joint, width=line)
            if kind < 0.45:
                for x in np.arange((row % 2) * step, size[0], step * 2.2):
                    draw.line([(x, y), (x, y + step)], fill=joint, width=line)
    else:
        for x in np.arange(start, size[0], step * rng.uniform(1, 3)):
            draw.line([(x, 0), (x, size[1])], fill=joint, width=line * 2)


def _draw_plate(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    low: np.ndarray,
    high: np.ndarray,
    plate: Color,
    ink: Color,
    unit: float,
) -> None:
    """A plate behind the number, with a shadow, a border and screws as luck has it."""
    pad = unit * rng.uniform(0.06, 0.45, 4)
    box = [low[0] - pad[0], low[1] - pad[1], high[0] + pad[2], high[1] + pad[3]]
    shape = rng.random()
    radius = unit * (rng.uniform(0, 0.12) if shape < 0.7 else rng.uniform(0.15, 0.4))

    def outline(extra: float, fill: Color) -> None:
        grown = [box[0] - extra, box[1] - extra, box[2] + extra, box[3] + extra]
        if shape > 0.9:
            dx, dy = (grown[2] - grown[0]) * 0.16, (grown[3] - grown[1]) * 0.16
            draw.ellipse([grown[0] - dx, grown[1] - dy, grown[2] + dx, grown[3] + dy], fill=fill)
        else:
            draw.rounded_rectangle(grown, radius=max(0.0, radius + extra), fill=fill)

    if rng.random() < 0.4:
        drop = unit * 0.06
        shifted = [box[0] + drop, box[1] + drop, box[2] + drop, box[3] + drop]
        draw.rounded_rectangle(shifted, radius=radius, fill=_mix(plate, (0, 0, 0), 0.75))
    if rng.random() < 0.5:
        border = unit * rng.uniform(0.02, 0.07)
        outline(border * 2, plate)
        outline(border, ink)
    elif rng.random() < 0.3:
        outline(unit * 0.05, _mix(plate, (0, 0, 0), 0.5))
    outline(0, plate)
    if rng.random() < 0.25:
        r = max(0.7, unit * 0.03)
        for x in (box[0] + 2 * r, box[2] - 2 * r):
            y = (box[1] + box[3]) / 2 if rng.random() < 0.5 else box[1] + 2 * r
            draw.ellipse([x - r, y - r, x + r, y + r], fill=_mix(ink, plate, 0.3))


def _draw_clutter(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    boxes: np.ndarray,
    unit: float,
    ground: Color,
    ink: Color,
) -> None:
    """What stands beside the number: letters, another number, cables, edges of windows and doors."""
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    if rng.random() < 0.14:
        font = _random_font(rng, max(6, int(unit * rng.uniform(0.4, 1.1))))
        text = "".join(rng.choice(list(CLUTTER_CHARACTERS), rng.integers(1, 4)))
        color = ink if rng.random() < 0.7 else _ink_for(rng, np.array(ground, float))
        gap = unit * rng.uniform(0.3, 0.8)
        side = rng.integers(4)
        if side == 0:
            draw.text((low[0] - gap, high[1]), text, font=font, anchor="rs", fill=color)
        elif side == 1:
            draw.text((high[0] + gap, high[1]), text, font=font, anchor="ls", fill=color)
        elif side == 2:
            draw.text((low[0], low[1] - gap * 0.7), text, font=font, anchor="ls", fill=color)
        else:
            draw.text((low[0], high[1] + gap * 0.7), text, font=font, anchor="lt", fill=color)
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.45 else 0):
        color = _rgb(_wall_color(rng))
        if rng.random() < 0.5:  # a door frame, a window, a gutter at one side
            reach = unit * rng.uniform(0.35, 2)
            edge = low[0] - reach if rng.random() < 0.5 else high[0] + reach
            box = [0, 0, edge, size[1]] if edge < low[0] else [edge, 0, size[0], size[1]]
            if box[2] > box[0]:
                draw.rectangle(box, fill=color)
        else:
            y = low[1] - unit * rng.uniform(0.2, 1) if rng.random() < 0.5 else high[1] + unit * rng.uniform(0.2, 1)
            draw.line([(0, y), (size[0], y + rng.normal(0, 0.1) * size[0])], fill=color, width=int(rng.integers(1, 5)))


def _paint(rng: np.random.Generator, photo: Image.Image, mask: Image.Image, ink: Color, unit: float) -> Image.Image:
    """Puts the number on, with a cast shadow or an edge light where it stands off the wall."""
    if rng.random() < 0.3:
        reach = max(1, int(unit * rng.uniform(0.02, 0.09)))
        shadow = ImageChops.offset(mask, reach * int(rng.choice((-1, 1))), reach)
        tone = (0, 0, 0) if rng.random() < 0.8 else (255, 255, 255)
        strength = rng.uniform(0.2, 0.7)
        photo.paste(tone, mask=shadow.filter(ImageFilter.GaussianBlur(reach * 0.5)).point(lambda v: int(v * strength)))
    if rng.random() < 0.12:  # worn paint
        wear = 1 - np.clip(_noise(rng, mask.size, max(2.0, unit * 0.15), 0.6)[..., 0], 0, 0.9)
        mask = Image.fromarray((np.asarray(mask) * wear).astype(np.uint8))
    if rng.random() < 0.15:  # metal: lit from above
        shade = np.linspace(rng.uniform(0, 70), -rng.uniform(0, 70), photo.height, dtype=np.float32)[:, None, None]
        body = np.broadcast_to(np.array(ink, np.float32), (photo.height, photo.width, 3)) + shade
        photo.paste(Image.fromarray(body.clip(0, 255).astype(np.uint8)), mask=mask)
    else:
        photo.paste(ink, mask=mask)
    return photo


def _expose(rng: np.random.Generator, photo: Image.Image, unit: float) -> Image.Image:
    """The camera: shadow, exposure, contrast, colour cast, blur, noise, JPEG."""
    pixels = np.asarray(photo, np.float32)
    size = photo.size
    if rng.random() < 0.12:  # the edge of a shadow
        x, y = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
        angle = rng.uniform(0, 2 * np.pi)
        side = np.clip((np.cos(angle) * x + np.sin(angle) * y + rng.uniform(-0.6, 0.6)) * 8 + 0.5, 0, 1)
        pixels = pixels * (1 - rng.uniform(0.2, 0.65) * side[..., None])
    middle = pixels.mean()
    pixels = (pixels - middle) * rng.uniform(0.4, 1.1) + middle * rng.uniform(0.55, 1.2) + rng.uniform(0, 20)
    pixels = pixels * (1 + rng.normal(0, 0.035, 3)).astype(np.float32)
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    blur = abs(rng.normal(0, 0.035)) * unit if rng.random() < 0.75 else rng.uniform(0.04, 0.1) * unit
    if blur > 0.25:
        photo = photo.filter(ImageFilter.GaussianBlur(min(blur, 5.0)))
    if rng.random() < 0.1:
        photo = photo.filter(ImageFilter.BoxBlur((unit * 0.06, 0) if rng.random() < 0.6 else (0, unit * 0.06)))
    pixels = np.asarray(photo, np.float32)
    pixels = pixels + rng.normal(0, abs(rng.normal(0, 5)), pixels.shape).astype(np.float32)
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        stream = io.BytesIO()
        photo.save(stream, "JPEG", quality=int(rng.integers(35, 92)))
        photo = Image.open(stream).convert("RGB")
    return photo


def _rgb(color: np.ndarray) -> Color:
    red, green, blue = (int(value) for value in np.clip(color, 0, 255))
    return red, green, blue


def _vary(rng: np.random.Generator, color: Color, spread: float) -> Color:
    return _rgb(np.array(color) + rng.normal(0, spread, 3))


def _mix(color: Color, other: Color, share: float) -> Color:
    return _rgb(np.array(color) * (1 - share) + np.array(other) * share)


def _ink_for(rng: np.random.Generator, ground: np.ndarray) -> Color:
    """An ink that stands out from the ground, sometimes barely."""
    contrast = rng.uniform(50, 200)
    is_darker = ground.mean() > 128 if rng.random() < 0.85 else ground.mean() > 60
    ink = ground + (-contrast if is_darker else contrast) + rng.normal(0, 15, 3)
    return _rgb(ink)
