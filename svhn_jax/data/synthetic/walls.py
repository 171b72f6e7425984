"""What numbers hang on in ordinary photos: walls of many kinds; plates, planks and tiles."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from svhn_jax.data.synthetic.camera import smooth_noise
from svhn_jax.data.synthetic.palette import PAIRS, Color, Sides, rgb, shade

WOODS = ((92, 58, 34), (141, 96, 60), (176, 132, 88), (201, 168, 127), (110, 100, 90), (70, 45, 32))
METALS = (
    (20, 20, 22),
    (60, 60, 62),
    (150, 150, 152),
    (205, 205, 205),
    (165, 130, 65),
    (120, 90, 55),
)


def color(rng: np.random.Generator) -> Color:
    """Of a wall, a door or a plate: measured, white, dark, of wood, or of paint."""
    kind = rng.random()
    if kind < 0.4:
        base = PAIRS[rng.integers(len(PAIRS)), rng.integers(2)]
    elif kind < 0.6:
        base = np.full(3, rng.uniform(180, 250)) + rng.normal(0, 6, 3)
    elif kind < 0.72:
        base = np.full(3, rng.uniform(15, 80)) + rng.normal(0, 5, 3)
    elif kind < 0.85:
        base = np.array(WOODS[rng.integers(len(WOODS))]) * rng.uniform(0.6, 1.2)
    else:
        base = rng.uniform(10, 230, 3)
    return rgb(base)


def ink(rng: np.random.Generator) -> Color:
    """Of figures: metal, black, white, or any colour."""
    kind = rng.random()
    if kind < 0.3:
        return shade(rng, METALS[rng.integers(len(METALS))], 15)
    if kind < 0.55:
        return shade(rng, (18, 18, 18), 12)
    return shade(rng, (240, 240, 236), 12) if kind < 0.8 else color(rng)


def wall(rng: np.random.Generator, side: int, unit: float) -> Image.Image:
    """A wall of side x side pixels; unit: height of a figure on it."""
    pixels = np.full((side, side, 3), color(rng), np.float32)
    kind = rng.random()
    if kind < 0.2:
        pixels = _bricks(rng, pixels, unit)
    elif kind < 0.55:
        boards = _boards(rng, pixels, unit)
        pixels = boards if rng.random() < 0.65 else boards.transpose(1, 0, 2)
    for grain in (4.0, 0.6, 0.12):  # stains, stone, plaster
        if rng.random() < 0.5:
            cell = max(1.0, unit * grain * rng.uniform(0.5, 2))
            pixels = pixels + smooth_noise(rng, (side, side), cell, abs(rng.normal(0, 8)))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _bricks(rng: np.random.Generator, pixels: np.ndarray, unit: float) -> np.ndarray:
    side = len(pixels)
    high = max(4.0, unit * np.exp(rng.uniform(-1.2, 0.7)))
    wide, joint = high * rng.uniform(1.5, 3.5), max(1.0, high * rng.uniform(0.06, 0.2))
    y, x = (
        np.arange(side)[:, None] + rng.uniform(0, high),
        np.arange(side)[None] + rng.uniform(0, wide),
    )
    row = (y // high).astype(int)
    x = x + (row % 2) * wide / 2
    column = (x // wide).astype(int)
    shades = rng.normal(0, rng.uniform(4, 22), (64, 64, 1)) + rng.normal(0, 4, (64, 64, 3))
    pixels = pixels + shades[row % 64, column % 64].astype(np.float32)
    is_joint = (y % high < joint) | (x % wide < joint)
    return np.where(is_joint[..., None], np.array(color(rng), np.float32), pixels)


def _boards(rng: np.random.Generator, pixels: np.ndarray, unit: float) -> np.ndarray:
    """Level boards, each of its own shade, with grain, a joint and the shadow of the one above."""
    side = len(pixels)
    high = max(4.0, unit * np.exp(rng.uniform(-1.0, 1.6)))
    y = np.arange(side) + rng.uniform(0, high)
    shades = rng.normal(0, rng.uniform(0, 18), 256)[(y // high).astype(int) % 256]
    share = (y % high) / high
    shades = shades - rng.uniform(0, 60) * np.exp(-share * high / rng.uniform(1, 4))
    shades = np.where(
        y % high < max(1.0, high * rng.uniform(0, 0.05)), shades - rng.uniform(20, 90), shades
    )
    return pixels + (shades[:, None, None] + _grain(rng, side, unit)).astype(np.float32)


def _grain(rng: np.random.Generator, side: int, unit: float) -> np.ndarray:
    """float32[side, side, 1]: streaks of wood, level."""
    if rng.random() < 0.4:
        return np.zeros((side, side, 1), np.float32)
    shape = max(2, int(side / max(1.5, 0.04 * unit))), max(2, int(side / (3 * unit)) + 2)
    noise = Image.fromarray(rng.normal(0, rng.uniform(3, 20), shape).astype(np.float32))
    return np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC))[..., None]


def support(
    rng: np.random.Generator, photo: Image.Image, number: Sides, boxes: np.ndarray, unit: float
) -> None:
    """A plate, a plank, or a tile for each figure, with a cast shadow, a rim, a frame."""
    face = color(rng)
    rounding = 0.0 if rng.random() < 0.5 else unit * rng.uniform(0.03, 0.4)
    if rng.random() < 0.15 and len(boxes) > 1:
        grow = unit * rng.uniform(0.03, 0.25)
        for box in boxes:
            panel(rng, photo, _grown(box.tolist(), grow, grow), rounding / 2, face, unit)
        return
    across, above = unit * rng.uniform(0.08, 0.8), unit * rng.uniform(0.08, 0.6)
    left, top, right, bottom = _grown(number, across, above)
    if rng.random() < 0.25:  # with room for writing or a lamp
        top, bottom = top - unit * rng.uniform(0, 1), bottom + unit * rng.uniform(0, 1)
    panel(rng, photo, (left, top, right, bottom), rounding, face, unit)


def panel(
    rng: np.random.Generator,
    photo: Image.Image,
    sides: Sides,
    rounding: float,
    face: Color,
    unit: float,
) -> None:
    left, top = (int(value) for value in sides[:2])
    wide, high = max(4, int(sides[2] - sides[0])), max(4, int(sides[3] - sides[1]))
    pad = int(0.3 * unit)
    mask = Image.new("L", (wide + 2 * pad, high + 2 * pad), 0)
    draw, inner = ImageDraw.Draw(mask), (pad, pad, pad + wide, pad + high)
    if rng.random() < 0.08:
        draw.ellipse(_grown(inner, min(pad, 0.15 * wide), min(pad, 0.15 * high)), fill=255)
    else:
        draw.rounded_rectangle(inner, min(rounding, wide / 2, high / 2), fill=255)
    if rng.random() < 0.6:  # its shadow
        drop = unit * rng.uniform(0.02, 0.2)
        soft = mask.filter(ImageFilter.GaussianBlur(drop * rng.uniform(0.1, 0.7)))
        corner = left - pad + round(drop * rng.choice((-1, 1))), top - pad + round(drop)
        strength = rng.uniform(0.3, 0.8)
        photo.paste((0, 0, 0), corner, soft.point([int(value * strength) for value in range(256)]))
    body = np.full((mask.height, mask.width, 3), face, np.float32)
    if rng.random() < 0.35:
        grain = _grain(rng, max(mask.size), unit)
        grain = grain if rng.random() < 0.5 else grain.transpose(1, 0, 2)
        body = body + grain[: mask.height, : mask.width]
    if rng.random() < 0.4:
        share = np.linspace(0, 1, mask.height, dtype=np.float32)[:, None, None]
        body = body + rng.normal(0, 25) * share + rng.normal(0, 25) * (1 - share)
    photo.paste(Image.fromarray(body.clip(0, 255).astype(np.uint8)), (left - pad, top - pad), mask)
    if rng.random() < 0.35:
        inset, line = unit * rng.uniform(0, 0.12), max(1, round(unit * rng.uniform(0.015, 0.08)))
        frame = (sides[0] + inset, sides[1] + inset, sides[2] - inset, sides[3] - inset)
        if frame[2] - frame[0] > 4 and frame[3] - frame[1] > 4:
            ImageDraw.Draw(photo).rounded_rectangle(
                frame, max(0.0, rounding - inset), outline=ink(rng), width=line
            )


def beside(rng: np.random.Generator, number: Sides, unit: float) -> Sides:
    """Where writing stands: below the number, above it, or on one side."""
    sides, gap = np.array([rng.uniform(1, 5), rng.uniform(0.3, 1.2)]) * unit, unit * 0.35
    low, high = np.array(number[:2]), np.array(number[2:])
    way = np.array(((0, 1), (0, -1), (1, 0), (-1, 0))[rng.choice(4, p=(0.45, 0.25, 0.2, 0.1))])
    middle = (low + high) / 2 + way * ((high - low + sides) / 2 + gap)
    left, top = (middle - sides / 2 + rng.normal(0, 0.2, 2) * unit).tolist()
    return left, top, left + float(sides[0]), top + float(sides[1])


def _grown(sides: Sides, across: float, above: float) -> Sides:
    return sides[0] - across, sides[1] - above, sides[2] + across, sides[3] + above
