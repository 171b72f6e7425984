"""The surroundings of a synthetic number: walls, plates, tiles, and objects beside it."""

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from svhn_jax.data.synthetic.camera import smooth_noise
from svhn_jax.data.synthetic.fonts import random_font
from svhn_jax.data.synthetic.palette import LUMA, PAIRS, Color, Sides, mix, rgb, shade

DIGITS, LETTERS = "0123456789", "ABCDEHabc-/."
# Gray levels between ground and ink; 5 % of real crops have a standard deviation below 14.
LEAST_CONTRAST = 36.0


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], boxes: np.ndarray, unit: float
) -> tuple[Image.Image, Color]:
    """Everything except the number, and the color of its ink. unit: the height of a digit."""
    ground, ink = _colors(rng)
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    number = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    has_plate = rng.random() < 0.6
    wall = _other_ground(rng, ground) if has_plate else ground
    photo = _draw_wall(rng, size, wall, unit)
    draw = ImageDraw.Draw(photo)
    if not has_plate and rng.random() < 0.06:  # half of the ground has another color
        x, fall = rng.uniform(0, size[0]), rng.normal(0, 0.5) * size[1]
        far = size[0] if rng.random() < 0.5 else 0
        half = [(far, 0), (x, 0), (x + fall, size[1]), (far, size[1])]
        draw.polygon(half, fill=mix(_other_ground(rng, ground), ground, 0.5))
    if has_plate:
        plate = _draw_plate(rng, draw, number, ground, ink, unit)
        if rng.random() < 0.3:
            _draw_neighbours(rng, draw, size, plate, wall, unit)
    elif rng.random() < 0.1 and len(boxes) > 1:
        _draw_tiles(rng, draw, boxes, ground, ink, unit)
    if rng.random() < 0.22:
        _draw_text(rng, draw, number, ground, ink, unit)
    if not has_plate or rng.random() < 0.2:
        _draw_objects(rng, draw, size, number, unit)
    return photo, ink


def _colors(rng: np.random.Generator) -> tuple[Color, Color]:
    """Ground and ink: a measured pair, in another light, sometimes with less contrast."""
    ground, ink = PAIRS[rng.integers(len(PAIRS))]
    if rng.random() < 0.12:  # the measured pairs have no others
        ground, ink = ink, ground
    contrast = abs(float((ink - ground) @ LUMA))
    ink = ground + (ink - ground) * max(rng.uniform(0.7, 1.25), LEAST_CONTRAST / max(contrast, 1.0))
    light, colorfulness = np.exp(rng.normal(0, 0.12)), rng.uniform(0.4, 1)
    pair = np.stack([ground, ink])
    grey = (pair @ LUMA)[:, None]
    pair = (grey + (pair - grey) * colorfulness) * light + rng.normal(0, 3.5, (2, 3))
    return rgb(pair[0]), rgb(pair[1])


def _other_ground(rng: np.random.Generator, ground: Color) -> Color:
    """The color behind a plate."""
    other = PAIRS[rng.integers(len(PAIRS)), 0]
    return (
        rgb(other * rng.uniform(0.6, 1.1) + rng.normal(0, 6, 3))
        if rng.random() < 0.8
        else shade(rng, ground, 40)
    )


def _draw_wall(
    rng: np.random.Generator, size: tuple[int, int], wall: Color, unit: float
) -> Image.Image:
    """Plaster, stone, bricks or boards."""
    if rng.random() < 0.6:
        pixels = np.array(wall, np.float32) + smooth_noise(
            rng, size, unit * rng.uniform(0.2, 1.5), rng.uniform(1, 9)
        )
        if rng.random() < 0.3:
            pixels = pixels + smooth_noise(rng, size, unit * 0.08 + 1, rng.uniform(2, 16))
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    else:
        photo = Image.new("RGB", size, wall)
    kind = rng.random()
    if kind > 0.3:
        return photo
    draw = ImageDraw.Draw(photo)
    joint = shade(rng, wall, 30)
    step, line = (
        max(4.0, unit * rng.uniform(0.25, 1.3)),
        max(1, round(unit * rng.uniform(0.02, 0.07))),
    )
    start = rng.uniform(0, step)
    if kind < 0.2:
        for row, y in enumerate(np.arange(start, size[1], step)):
            draw.line([(0, y), (size[0], y)], fill=joint, width=line)
            if kind < 0.12:
                for x in np.arange((row % 2) * step, size[0], step * 2.2):
                    draw.line([(x, y), (x, y + step)], fill=joint, width=line)
    else:
        for x in np.arange(start, size[0], step * rng.uniform(1, 3)):
            draw.line([(x, 0), (x, size[1])], fill=joint, width=line)
    return photo


def _draw_plate(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    number: Sides,
    plate: Color,
    ink: Color,
    unit: float,
) -> Sides:
    """A plate with random shadow, rim, frame and screws; returns its sides."""
    pad = unit * (rng.uniform(0.05, 0.3, 4) if rng.random() < 0.6 else rng.uniform(0.1, 0.8, 4))
    if rng.random() < 0.6:  # the number in the middle
        pad[2:] = pad[:2] * rng.uniform(0.85, 1.15, 2)
    box = (number[0] - pad[0], number[1] - pad[1], number[2] + pad[2], number[3] + pad[3])
    kind = rng.random()
    radius = 0.0 if kind < 0.45 else unit * rng.uniform(0.03, 0.35)
    is_oval = kind > 0.93

    def shape(
        grow: float, fill: Color | None, outline: Color | None = None, width: float = 0
    ) -> None:
        sides = (box[0] - grow, box[1] - grow, box[2] + grow, box[3] + grow)
        line = max(1, round(width))
        if sides[2] - sides[0] < 4 or sides[3] - sides[1] < 4:
            return
        if is_oval:
            dx, dy = (sides[2] - sides[0]) * 0.16, (sides[3] - sides[1]) * 0.16
            draw.ellipse(
                [sides[0] - dx, sides[1] - dy, sides[2] + dx, sides[3] + dy], fill, outline, line
            )
        else:
            draw.rounded_rectangle(sides, max(0.0, radius + grow), fill, outline, line)

    if rng.random() < 0.35:  # cast shadow
        drop, dark = unit * rng.uniform(0.03, 0.12), mix(plate, (0, 0, 0), rng.uniform(0.5, 0.9))
        side = rng.choice((-1, 1))
        draw.rectangle(
            [box[0] + side * drop, box[1] + drop, box[2] + side * drop, box[3] + drop], fill=dark
        )
    rim = rng.random()
    if rim < 0.25:  # a rim of another color
        shape(unit * rng.uniform(0.02, 0.15), shade(rng, plate, 45) if rng.random() < 0.6 else ink)
    shape(0, plate)
    if rng.random() < 0.4:  # an inner frame, as on enamel
        shape(
            -unit * rng.uniform(0.01, 0.08),
            None,
            mix(ink, plate, rng.uniform(0, 0.4)),
            unit * rng.uniform(0.015, 0.07),
        )
    if rng.random() < 0.2:
        r = max(0.7, unit * 0.03)
        for x in (box[0] + 2 * r, box[2] - 2 * r):
            y = (box[1] + box[3]) / 2 if rng.random() < 0.5 else box[1] + 2 * r
            draw.ellipse([x - r, y - r, x + r, y + r], fill=mix(ink, plate, 0.3))
    return box


def _draw_neighbours(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    plate: Sides,
    wall: Color,
    unit: float,
) -> None:
    """A post, a frame or the next house at the side of the plate."""
    color = _other_ground(rng, wall)
    gap = unit * rng.uniform(0, 0.5)
    side = rng.integers(4)
    sides = (
        (0, 0, plate[0] - gap, size[1]),
        (plate[2] + gap, 0, size[0], size[1]),
        (0, 0, size[0], plate[1] - gap),
        (0, plate[3] + gap, size[0], size[1]),
    )[side]
    if sides[2] > sides[0] and sides[3] > sides[1]:
        draw.rectangle(sides, fill=color)


def _draw_tiles(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    boxes: np.ndarray,
    ground: Color,
    ink: Color,
    unit: float,
) -> None:
    """Each digit on a tile of its own."""
    grow, line = unit * rng.uniform(0.05, 0.2), max(1, round(unit * rng.uniform(0.02, 0.06)))
    top, bottom = boxes[:, 1].min() - grow, (boxes[:, 1] + boxes[:, 3]).max() + grow
    edges = [
        boxes[0, 0] - grow,
        *((boxes[:-1, 0] + boxes[:-1, 2] + boxes[1:, 0]) / 2),
        boxes[-1, 0] + boxes[-1, 2] + grow,
    ]
    color = shade(rng, ground, 30) if rng.random() < 0.6 else mix(ink, ground, 0.4)
    fill = shade(rng, ground, 10)
    for left, right in pairwise(edges):
        if right > left:
            draw.rectangle([left, top, right, bottom], fill=fill, outline=color, width=line)


def _draw_text(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    number: Sides,
    ground: Color,
    ink: Color,
    unit: float,
) -> None:
    """Writing beside the number: dots, a letter, a smaller number, small print, a dash."""
    left, top, right, bottom = number
    color = mix(ink, ground, rng.uniform(0, 0.5))
    kind = rng.random()
    if kind < 0.14:  # a dot on either side, or on one
        radius, gap = unit * rng.uniform(0.03, 0.08), unit * rng.uniform(0.1, 0.35)
        y = top + (bottom - top) * (rng.uniform(0.4, 0.6) if rng.random() < 0.7 else 0.95)
        for x in (left - gap, right + gap)[int(rng.random() < 0.25) :]:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)
    elif kind < 0.42:  # small print above or below
        height = unit * rng.uniform(0.12, 0.35)
        text = "".join(rng.choice(list(DIGITS + LETTERS), rng.integers(4, 12)))
        y = (
            top - unit * rng.uniform(0.06, 0.3)
            if rng.random() < 0.5
            else bottom + height + unit * rng.uniform(0.06, 0.3)
        )
        draw.text(
            ((left + right) / 2, y), text, font=random_font(rng, height), anchor="ms", fill=color
        )
    elif kind < 0.75:  # a letter or dash beside it, or the number of the next door, farther away
        is_near = rng.random() < 0.6
        text = str(rng.choice(list("ABCDEabc-/." if is_near else DIGITS)))
        height = unit * (rng.uniform(0.3, 0.8) if is_near else rng.uniform(0.5, 1.1))
        gap = unit * (rng.uniform(0.08, 0.3) if is_near else rng.uniform(0.35, 0.8))
        font = random_font(rng, height)
        if rng.random() < 0.5:
            draw.text((left - gap, bottom), text, font=font, anchor="rs", fill=color)
        else:
            draw.text((right + gap, bottom), text, font=font, anchor="ls", fill=color)
    else:  # another line of figures
        height, gap = unit * rng.uniform(0.4, 1), unit * rng.uniform(0.2, 0.5)
        text = "".join(rng.choice(list(DIGITS), rng.integers(1, 4)))
        y = top - gap if rng.random() < 0.5 else bottom + gap + height
        draw.text(
            ((left + right) / 2, y), text, font=random_font(rng, height), anchor="ms", fill=color
        )


def _draw_objects(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    number: Sides,
    unit: float,
) -> None:
    """Door frames, windows, gutters, cables, ledges: none, one or two."""
    for _ in range(int(rng.integers(0, 3))):
        color = rgb(PAIRS[rng.integers(len(PAIRS)), 0] * rng.uniform(0.5, 1.1))
        sides: Sides
        reach = unit * rng.uniform(0.08, 1.2)
        kind = rng.random()
        if kind < 0.45:
            edge = number[0] - reach if rng.random() < 0.5 else number[2] + reach
            sides = (0.0, 0.0, edge, size[1]) if edge < number[0] else (edge, 0.0, size[0], size[1])
        elif kind < 0.7:
            edge = number[1] - reach if rng.random() < 0.5 else number[3] + reach
            sides = (0.0, 0.0, size[0], edge) if edge < number[1] else (0.0, edge, size[0], size[1])
        else:
            y = number[1] - reach if rng.random() < 0.5 else number[3] + reach
            fall = rng.normal(0, 0.06) * size[0]
            draw.line(
                [(0, y), (size[0], y + fall)],
                fill=color,
                width=max(1, int(unit * rng.uniform(0.02, 0.12))),
            )
            continue
        if sides[2] > sides[0] and sides[3] > sides[1]:
            draw.rectangle(sides, fill=color)


def paint_number(
    rng: np.random.Generator,
    photo: Image.Image,
    mask: Image.Image,
    corner: tuple[int, int],
    ink: Color,
    unit: float,
) -> None:
    """Paints the number, its mask at `corner`; some in relief, with a shadow, worn or shining."""
    kind = rng.random()
    if kind < 0.22:  # shadow
        reach = unit * rng.uniform(0.03, 0.12)
        shift = (
            round(corner[0] + reach * rng.choice((-1, 1))),
            round(corner[1] + reach * rng.uniform(0.2, 1)),
        )
        _blend(
            photo,
            mask.filter(ImageFilter.GaussianBlur(reach * 0.4)),
            shift,
            (0, 0, 0),
            rng.uniform(0.25, 0.75),
        )
    elif kind < 0.36:  # relief: one edge bright, the opposite one dark
        reach = max(1, round(unit * rng.uniform(0.02, 0.06)))
        strength, side = rng.uniform(0.3, 0.8), int(rng.choice((-1, 1)))
        _blend(photo, mask, (corner[0] + side * reach, corner[1] + reach), (0, 0, 0), strength)
        _blend(
            photo, mask, (corner[0] - side * reach, corner[1] - reach), (255, 255, 255), strength
        )
    elif kind < 0.42:  # an edge of another color
        edge = mask.filter(ImageFilter.MaxFilter(3 if unit < 40 else 5))
        _blend(photo, edge, corner, shade(rng, ink, 70), 1.0)
    if rng.random() < 0.12:  # worn paint
        wear = 1 - np.clip(
            smooth_noise(rng, mask.size, max(2.0, unit * 0.15), 0.6)[..., 0], 0, 0.85
        )
        mask = Image.fromarray((np.asarray(mask) * wear).astype(np.uint8))
    if rng.random() < 0.2:  # metal, or lit from above
        rise = np.linspace(rng.normal(0, 45), rng.normal(0, 45), mask.height, dtype=np.float32)[
            :, None, None
        ]
        body = np.broadcast_to(np.array(ink, np.float32) + rise, (mask.height, mask.width, 3))
        photo.paste(Image.fromarray(body.clip(0, 255).astype(np.uint8)), corner, mask)
    else:
        photo.paste(ink, corner, mask)


def _blend(
    photo: Image.Image, mask: Image.Image, corner: tuple[int, int], color: Color, strength: float
) -> None:
    photo.paste(color, corner, mask.point([int(value * strength) for value in range(256)]))
