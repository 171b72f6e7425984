"""What numbers hang on: walls of many kinds; plates, planks and tiles; door frames and cables."""

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from svhn_jax.data.synthetic.camera import smooth_noise, to_image
from svhn_jax.data.synthetic.palette import Color, Sides, around, ground_color, mix, shade


def wall(
    rng: np.random.Generator,
    size: tuple[int, int],
    color: Color,
    unit: float,
    patterned: float = 0.55,
) -> Image.Image:
    """A wall of `size` pixels; unit: height of a figure on it; patterned: share of walls of bricks
    or boards. The rest is plaster or stone."""
    pixels = np.array(color, np.float32)
    kind = rng.random()
    if kind < 0.4 * patterned:
        pixels = _bricks(rng, size, color, unit)
    elif kind < 0.8 * patterned:
        pixels = pixels + _boards(rng, size[1], unit)[:, None, None] + _grain(rng, size, unit)
    elif kind < patterned:
        pixels = pixels + _boards(rng, size[0], unit)[None, :, None]
    for grain in (4.0, 0.6, 0.12):  # stains, stone, plaster
        if rng.random() < 0.4:
            cell = max(1.5, unit * grain * rng.uniform(0.5, 2))
            pixels = pixels + smooth_noise(rng, size, cell, abs(rng.normal(0, 7)))
    return to_image(np.broadcast_to(pixels, (size[1], size[0], 3)))


def _bricks(
    rng: np.random.Generator, size: tuple[int, int], color: Color, unit: float
) -> np.ndarray:
    """float[H, W, 3], each brick of its own shade."""
    high = max(4.0, unit * float(np.exp(rng.uniform(-1.2, 0.7))))
    wide, joint = high * rng.uniform(1.5, 3.5), max(1.0, high * rng.uniform(0.06, 0.2))
    y = np.arange(size[1])[:, None] + rng.uniform(0, high)
    row = (y // high).astype(int)
    x = np.arange(size[0])[None] + rng.uniform(0, wide) + (row % 2) * wide / 2
    shades = rng.normal(0, rng.uniform(2, 18), (32, 32, 1)) + rng.normal(0, 3, (32, 32, 3))
    pixels = (np.array(color) + shades)[row % 32, (x // wide).astype(int) % 32]
    pixels[(y % high < joint) | (x % wide < joint)] = shade(rng, color, 35)
    return np.asarray(pixels, np.float32)


def _boards(rng: np.random.Generator, side: int, unit: float) -> np.ndarray:
    """float32[side] across the boards: each of its own shade, with a joint and the shadow of its
    neighbour."""
    high = max(4.0, unit * float(np.exp(rng.uniform(-1.0, 1.6))))
    y = np.arange(side) + rng.uniform(0, high)
    shades = rng.normal(0, rng.uniform(0, 14), 256)[(y // high).astype(int) % 256]
    within = y % high
    shades = shades - rng.uniform(0, 60) * np.exp(-within / rng.uniform(1, 4))
    shades[within < max(1.0, high * rng.uniform(0, 0.05))] -= rng.uniform(20, 90)
    return shades.astype(np.float32)


def _grain(rng: np.random.Generator, size: tuple[int, int], unit: float) -> np.ndarray:
    """float32[H, W, 1]: streaks of wood, level."""
    if rng.random() < 0.4:
        return np.zeros((1, 1, 1), np.float32)
    cells = max(2, int(size[1] / max(1.5, 0.04 * unit))), max(2, int(size[0] / (3 * unit)) + 2)
    noise = Image.fromarray(rng.normal(0, rng.uniform(3, 18), cells).astype(np.float32))
    return np.asarray(noise.resize(size, Image.Resampling.BILINEAR))[..., None]


def support(
    rng: np.random.Generator,
    photo: Image.Image,
    boxes: np.ndarray,
    face: Color,
    ink: Color,
    unit: float,
) -> Sides:
    """A plate, a plank, or a tile for each figure, behind boxes float[n, 4]; returns its sides."""
    left, top, right, bottom = around(boxes)
    rounding = 0.0 if rng.random() < 0.5 else unit * rng.uniform(0.03, 0.38)
    is_row = len(boxes) > 1 and (boxes[1:, 0] > boxes[:-1, 0]).all()
    if rng.random() < 0.12 and is_row:
        grow = unit * rng.uniform(0.03, 0.22)
        between = ((boxes[:-1, 2] + boxes[1:, 0]) / 2).tolist()
        for start, end in pairwise([left - grow, *between, right + grow]):
            panel(
                rng, photo, (start, top - grow, end, bottom + grow), rounding / 3, face, ink, unit
            )
        return left - grow, top - grow, right + grow, bottom + grow
    pad = unit * rng.uniform(*((0.05, 0.3) if rng.random() < 0.5 else (0.1, 0.8)), 4)
    if rng.random() < 0.6:  # the number in the middle
        pad[2:] = pad[:2] * rng.uniform(0.85, 1.15, 2)
    sides = (left - pad[0], top - pad[1], right + pad[2], bottom + pad[3])
    panel(rng, photo, sides, rounding, face, ink, unit)
    return sides


def panel(
    rng: np.random.Generator,
    photo: Image.Image,
    sides: Sides,
    rounding: float,
    face: Color,
    ink: Color,
    unit: float,
) -> None:
    """A flat piece of this color, with random shadow, rim, frame and screws."""
    left, top = (int(value) for value in sides[:2])
    wide, high = max(4, int(sides[2] - sides[0])), max(4, int(sides[3] - sides[1]))
    pad = int(0.3 * unit)
    mask = Image.new("L", (wide + 2 * pad, high + 2 * pad), 0)
    draw, inner = ImageDraw.Draw(mask), (pad, pad, pad + wide, pad + high)
    if rng.random() < 0.08:
        draw.ellipse(_grown(inner, min(pad, 0.15 * wide), min(pad, 0.15 * high)), fill=255)
    else:
        draw.rounded_rectangle(inner, min(rounding, wide / 2, high / 2), fill=255)
    corner = left - pad, top - pad
    kind, rim = rng.random(2)
    if kind < 0.4:  # its shadow
        drop, strength = unit * rng.uniform(0.02, 0.15), rng.uniform(0.3, 0.8)
        soft = mask.filter(ImageFilter.BoxBlur(drop * rng.uniform(0.1, 0.7)))
        place = corner[0] + round(drop * rng.choice((-1, 1))), corner[1] + round(drop)
        blend(photo, soft, place, (0, 0, 0), strength)
    if rim < 0.2:  # of another color
        edge = ImageFilter.MaxFilter(2 * max(1, min(4, round(unit * rng.uniform(0.02, 0.1)))) + 1)
        photo.paste(shade(rng, face, 45) if rng.random() < 0.6 else ink, corner, mask.filter(edge))
    if rim > 0.6:
        body = np.array(face, np.float32) + slope(rng, mask.height, 22)
        body = body + _grain(rng, mask.size, unit)
        photo.paste(to_image(np.broadcast_to(body, (mask.height, mask.width, 3))), corner, mask)
    else:
        photo.paste(face, corner, mask)
    draw = ImageDraw.Draw(photo)
    inset, line = unit * rng.uniform(0, 0.12), max(1, round(unit * rng.uniform(0.015, 0.08)))
    frame = _grown(sides, -inset, -inset)
    color = mix(ink, face, rng.uniform(0, 0.4))
    if rng.random() < 0.35 and frame[2] - frame[0] > 4 and frame[3] - frame[1] > 4:
        draw.rounded_rectangle(frame, max(0.0, rounding - inset), outline=color, width=line)
    if rng.random() < 0.15:
        r = max(0.7, unit * 0.03)
        y = (sides[1] + sides[3]) / 2 if rng.random() < 0.5 else sides[1] + 2 * r
        for x in (sides[0] + 2 * r, sides[2] - 2 * r):
            draw.ellipse([x - r, y - r, x + r, y + r], fill=color)


def slope(rng: np.random.Generator, height: int, spread: float) -> np.ndarray:
    """float32[height, 1, 1], grey levels: between a random value above and one below."""
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    above, below = rng.normal(0, spread, 2).astype(np.float32)
    return np.asarray(above * (1 - share) + below * share)


def blend(
    photo: Image.Image, mask: Image.Image, corner: tuple[int, int], color: Color, strength: float
) -> None:
    """Pastes a color where the mask is, at most `strength` of it (above 1: cut at all of it)."""
    scaled = to_image(np.asarray(mask, np.float32) * np.float32(strength))
    photo.paste(color, corner, scaled)


def draw_objects(rng: np.random.Generator, photo: Image.Image, plate: Sides, unit: float) -> None:
    """Door frames, windows, gutters, cables, ledges beside these sides: none, one or two."""
    (width, height), draw = photo.size, ImageDraw.Draw(photo)
    for _ in range(int(rng.integers(0, 3))):
        color, reach = ground_color(rng), unit * rng.uniform(0.08, 1.2)
        kind, is_before = rng.random(), rng.random() < 0.5
        x = plate[0] - reach if is_before else plate[2] + reach
        y = plate[1] - reach if is_before else plate[3] + reach
        if kind >= 0.7:
            fall, line = rng.normal(0, 0.06) * width, max(1, int(unit * rng.uniform(0.02, 0.12)))
            draw.line([(0, y), (width, y + fall)], fill=color, width=line)
            continue
        sides: Sides
        if kind < 0.45:
            sides = (0, 0, x, height) if is_before else (x, 0, width, height)
        else:
            sides = (0, 0, width, y) if is_before else (0, y, width, height)
        if sides[2] > sides[0] and sides[3] > sides[1]:
            draw.rectangle(sides, fill=color)


def _grown(sides: Sides, across: float, above: float) -> Sides:
    return sides[0] - across, sides[1] - above, sides[2] + across, sides[3] + above
