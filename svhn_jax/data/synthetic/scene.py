"""What stands around a synthetic number, and what the camera does to it."""

import io

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from svhn_jax.data.synthetic.fonts import random_font

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


def draw_scene(
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
        font = random_font(rng, max(6, int(unit * rng.uniform(0.4, 1.1))))
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


def paint_number(
    rng: np.random.Generator, photo: Image.Image, mask: Image.Image, ink: Color, unit: float
) -> Image.Image:
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


def expose(rng: np.random.Generator, photo: Image.Image, unit: float) -> Image.Image:
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
