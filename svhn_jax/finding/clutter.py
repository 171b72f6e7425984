"""Synthetic street scenes without any number: walls, windows, foliage, signs with words, patches of real photos."""

import functools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from svhn_jax.data.crop import Box
from svhn_jax.data.synthetic.camera import smooth_noise
from svhn_jax.data.synthetic.fonts import random_font
from svhn_jax.data.synthetic.palette import PAIRS

ALL = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzäöüé&-.")
UNLIKE_DIGITS = list(
    "ACEFHJKLMNPRTUVWXYacdefhkmnprtuvwxy"
)  # of words that are too short to tell O from 0 by
SUBSET = list("ACEHabc")  # what the fonts of the synthetic digits have besides
FACES = [
    *(
        f"DejaVu{face}.ttf"
        for face in ("Sans", "Sans-Bold", "SansMono", "SansMono-Bold", "Serif", "Serif-Bold")
    ),
    *("STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf"),
]  # of all letters; they come with matplotlib
Color = tuple[int, int, int]


def background(
    rng: np.random.Generator, size: tuple[int, int], unit: float, patches: Sequence[Image.Image]
) -> Image.Image:
    """A scene of `size` (width, height) without a number.

    Args:
      unit: size of its details, pixels.
      patches: parts of real photos without a number; some scenes are made of them.
    """
    kind = rng.random()
    if kind < 0.35 and len(patches):
        photo = _collage(rng, size, unit, patches)
    elif kind < 0.5:
        photo = _foliage(rng, size, unit)
    else:
        photo = _wall(rng, size, unit)
    if rng.random() < 0.4:  # two parts, as a house and the street
        other = _foliage(rng, size, unit) if rng.random() < 0.4 else _wall(rng, size, unit)
        edge = int(rng.uniform(0.2, 0.8) * size[1])
        part = (0, edge, size[0], size[1]) if rng.random() < 0.5 else (0, 0, size[0], edge)
        photo.paste(other.crop(part), part[:2])
    return photo


def add_clutter(
    rng: np.random.Generator,
    photo: Image.Image,
    unit: float,
    count: int,
    patches: Sequence[Image.Image],
    avoid: Box | None,
) -> None:
    """Draws windows, doors, bars, cables, lamps, words and patches onto a photo, none of them across the box `avoid`."""
    for _ in range(count):
        w, h = (unit * np.exp(rng.uniform(-0.7, 1.6, 2))).tolist()
        x, y = (
            rng.uniform(-0.3 * w, photo.width - 0.7 * w),
            rng.uniform(-0.3 * h, photo.height - 0.7 * h),
        )
        if avoid and x < avoid[2] and y < avoid[3] and x + w > avoid[0] and y + h > avoid[1]:
            continue
        kind = rng.random()
        if kind < 0.5:
            _words(rng, photo, Box(x, y, x + w, y + h))
        elif kind < 0.7 and len(patches):
            paste(
                photo,
                random_patch(rng, patches, (max(2, int(w)), max(2, int(h)))),
                (int(x), int(y)),
                rng.uniform(0, 0.3),
            )
        else:
            _thing(rng, ImageDraw.Draw(photo), Box(x, y, x + w, y + h), unit)


def paste(photo: Image.Image, part: Image.Image, corner: tuple[int, int], feather: float) -> None:
    """Pastes a part whose edges fade over `feather` of its shorter side."""
    width, height = part.size
    reach = max(1.0, feather * min(width, height))
    x = np.minimum(np.arange(width) + 0.5, width - np.arange(width) - 0.5) / reach
    y = np.minimum(np.arange(height) + 0.5, height - np.arange(height) - 0.5) / reach
    mask = (np.clip(x, 0, 1)[None] * np.clip(y, 0, 1)[:, None] * 255).astype(np.uint8)
    photo.paste(part, corner, Image.fromarray(mask))


def random_patch(
    rng: np.random.Generator, patches: Sequence[Image.Image], size: tuple[int, int]
) -> Image.Image:
    """One of the patches, mirrored or turned as luck has it, stretched to `size`."""
    patch = patches[int(rng.integers(len(patches)))]
    if rng.random() < 0.5:
        patch = patch.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.2:
        patch = patch.transpose(Image.Transpose.ROTATE_90)
    return patch.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)


def _color(rng: np.random.Generator, spread: float = 20) -> Color:
    """The colour of a real wall, or of real ink, in another light."""
    r, g, b = np.clip(
        PAIRS[rng.integers(len(PAIRS)), rng.integers(2)] * rng.uniform(0.6, 1.2)
        + rng.normal(0, spread, 3),
        0,
        255,
    )
    return int(r), int(g), int(b)


def _wall(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Image.Image:
    """Plaster of several grains, with bricks, boards, tiles or bars on it."""
    pixels = np.array(_color(rng), np.float32) + smooth_noise(
        rng, size, max(2.0, unit * rng.uniform(1, 8)), rng.uniform(2, 25)
    )
    for grain in (0.4, 0.1):
        if rng.random() < 0.6:
            pixels = pixels + smooth_noise(rng, size, max(1.0, unit * grain), rng.uniform(1, 14))
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    kind = rng.random()
    if kind > 0.6:
        return photo
    draw, joint = ImageDraw.Draw(photo), _color(rng)
    step = max(3.0, unit * np.exp(rng.uniform(-1.6, 0.8)))
    line = max(1, round(step * rng.uniform(0.04, 0.4 if kind > 0.5 else 0.15)))
    if kind < 0.45:  # courses of bricks, tiles or boards
        for row, y in enumerate(np.arange(rng.uniform(0, step), size[1], step)):
            draw.line([(0, y), (size[0], y)], fill=joint, width=line)
            if kind < 0.3:
                shift = (row % 2) * step if kind < 0.2 else 0.0
                for x in np.arange(shift, size[0], step * 2.1):
                    draw.line([(x, y), (x, y + step)], fill=joint, width=line)
    else:  # bars or boards
        for x in np.arange(rng.uniform(0, step), size[0], step):
            draw.line([(x, 0), (x + rng.normal(0, 1), size[1])], fill=joint, width=line)
    return photo


def _foliage(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Image.Image:
    """Blobs of leaves, gravel or clouds: noise of several sizes, its tones often cut hard."""
    total = np.zeros((size[1], size[0], 1), np.float32)
    for octave in range(int(rng.integers(2, 5))):
        total = total + smooth_noise(rng, size, max(1.2, unit * 1.5 / 2.2**octave), 1.0)
    if rng.random() < 0.5:
        total = np.tanh(total * rng.uniform(1, 4))
    dark, bright = np.array(_color(rng), np.float32), np.array(_color(rng, 40), np.float32)
    share = (total - total.min()) / max(float(np.ptp(total)), 1e-6)
    return Image.fromarray((dark + (bright - dark) * share).clip(0, 255).astype(np.uint8))


def _collage(
    rng: np.random.Generator, size: tuple[int, int], unit: float, patches: Sequence[Image.Image]
) -> Image.Image:
    """Patches of real photos side by side, stretched to cells of several units."""
    photo = random_patch(rng, patches, size)
    step = max(8, int(unit * np.exp(rng.uniform(0.3, 2.0))))
    for y in range(0, size[1], step):
        for x in range(0, size[0], step):
            if rng.random() < 0.8:
                side = int(step * rng.uniform(1.0, 1.5)), int(step * rng.uniform(1.0, 1.5))
                paste(photo, random_patch(rng, patches, side), (x, y), rng.uniform(0.0, 0.3))
    return photo


def _words(rng: np.random.Generator, photo: Image.Image, box: Box) -> None:
    """Lines of letters, perhaps on a sign."""
    draw = ImageDraw.Draw(photo)
    left, top, right, bottom = box
    if rng.random() < 0.5:
        draw.rounded_rectangle(
            box,
            (bottom - top) * rng.uniform(0, 0.2),
            _color(rng),
            _color(rng),
            int(rng.integers(0, 3)),
        )
    lines = int(rng.integers(1, 4))
    height = (bottom - top) / lines * 0.6
    if height < 3:
        return
    fill = _color(rng, 40)
    is_plain = rng.random() < 0.7
    font = (
        _plain_font(int(rng.integers(len(FACES))), int(height * 1.3))
        if is_plain
        else random_font(rng, height)
    )
    for line in range(lines):
        count = int(rng.integers(1, 10))
        letters = (ALL if count > 3 else UNLIKE_DIGITS) if is_plain else SUBSET
        text = "".join(rng.choice(letters, count))
        text = text.upper() if is_plain and count > 3 and rng.random() < 0.5 else text
        draw.text(
            (left + 0.1 * (right - left), top + (line + 0.2) * (bottom - top) / lines),
            text,
            font=font,
            fill=fill,
        )


@functools.lru_cache(maxsize=512)
def _plain_font(face: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FACES[face], max(4, size)
    )


def _thing(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: Box, unit: float) -> None:
    """A window with panes, a door, a lamp, a cable, a ring or a grille."""
    left, top, right, bottom = box
    line, kind = max(1, int(unit * rng.uniform(0.02, 0.15))), rng.random()
    if kind < 0.35:
        draw.rectangle(box, _color(rng), _color(rng), line)
        frame = _color(rng)
        for share in np.linspace(0, 1, int(rng.integers(2, 5)))[1:-1]:
            draw.line(
                [(left + share * (right - left), top), (left + share * (right - left), bottom)],
                frame,
                line,
            )
        if rng.random() < 0.5:
            draw.line([(left, (top + bottom) / 2), (right, (top + bottom) / 2)], frame, line)
    elif kind < 0.5:
        draw.ellipse(box, _color(rng) if rng.random() < 0.5 else None, _color(rng), line)
    elif kind < 0.7:
        draw.line(
            [(left, top), (right, bottom)]
            if rng.random() < 0.5
            else [(left, bottom), (right, top)],
            _color(rng),
            line,
        )
    elif kind < 0.85:
        step = max(2.0, unit * rng.uniform(0.08, 0.4))
        color = _color(rng)
        for x in np.arange(left, right, step):
            draw.line([(x, top), (x, bottom)], color, max(1, int(step * rng.uniform(0.2, 0.6))))
    else:
        draw.arc(box, rng.uniform(0, 180), rng.uniform(180, 360), _color(rng), line)


def blurred(rng: np.random.Generator, photo: Image.Image, most: float) -> Image.Image:
    """The photo out of focus by up to `most` pixels."""
    return photo.filter(ImageFilter.GaussianBlur(rng.uniform(0, most)))
