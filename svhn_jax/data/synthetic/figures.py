"""Single figures, and two forms that few typefaces have: the flat 3 and the 1 with a long flag.

Real photos have them: networks trained without them often read the flat 3 as 5. What they gained:
docs/experiments.md.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from svhn_jax.data.synthetic.fonts import GLYPH, Glyph, glyph


class Style(NamedTuple):
    """What all digits of a number share; lengths are shares of the stroke or of the figure's
    height."""

    flat_three: bool
    flagged_one: bool
    lining: bool  # figures with descenders, and small ones, are enlarged to one height
    bar: float  # thickness of the flat 3's bar, and of the 1's flag
    diagonal: float  # of the flat 3
    reach: float  # of the 1's flag to the left
    drop: float  # of the 1's flag


def draw_style(rng: np.random.Generator) -> Style:
    """Shares of the special forms by eye, from sheets of real train photos."""
    return Style(
        flat_three=rng.random() < 0.3,
        flagged_one=rng.random() < 0.12,
        lining=rng.random() < 0.85,
        bar=rng.uniform(0.4, 1.0),
        diagonal=rng.uniform(0.3, 0.8),
        reach=rng.uniform(0.16, 0.4),
        drop=rng.uniform(0.15, 0.4),
    )


def figure(face: int, digit: int, height: float, style: Style, stretch: float = 1.0) -> Glyph:
    """The digit in this face and style. height: of its figures, pixels; stretch: of the width."""
    mask, rise, advance = glyph(face, digit)
    scale = height / GLYPH
    if style.lining and abs(mask.height - GLYPH) > 0.08 * GLYPH:
        scale, rise = height / mask.height, mask.height
    wide, high = (max(1, round(mask.width * scale * stretch)), max(1, round(mask.height * scale)))
    mask = mask.resize((wide, high), Image.Resampling.BILINEAR)
    rise, advance = round(rise * scale), advance * scale * stretch
    if digit == 3 and style.flat_three:
        mask = _flat_three(mask, style)
    elif digit == 1 and style.flagged_one:
        flagged = _flagged_one(mask, style)
        advance += flagged.width - mask.width
        mask = flagged
    return Glyph(mask, rise, advance)


def _flat_three(mask: Image.Image, style: Style) -> Image.Image:
    """The lower bowl of this 3, a little higher, under a bar and a diagonal."""
    width, height = mask.size
    bowl_top = round(0.38 * height)
    bowl = mask.crop((0, round(0.45 * height), width, height)).resize(
        (width, height - bowl_top), Image.Resampling.BILINEAR
    )
    stroke = _stroke(mask, 0.72)
    bar, diagonal = max(1.0, stroke * style.bar), max(1.0, stroke * style.diagonal)
    flat = Image.new("L", mask.size, 0)
    flat.paste(bowl, (0, bowl_top))
    draw = ImageDraw.Draw(flat)
    left, right, middle = 0.06 * width, 0.96 * width, 0.42 * width
    draw.rectangle([left, 0, right, bar - 1], fill=255)
    if style.bar > 0.6:  # a serif at the bar's end
        low = 0.2 * height
        serif = [(left, 0), (left + diagonal, 0), (left + 0.3 * diagonal, low), (left, low)]
        draw.polygon(serif, fill=255)
    end, begin = 0.45 * height, right - 1.2 * diagonal
    below = [(middle + diagonal, end), (middle - 0.2 * diagonal, end)]
    draw.polygon([(begin, bar - 1), (right, bar - 1), *below], fill=255)
    return flat


def _flagged_one(mask: Image.Image, style: Style) -> Image.Image:
    """This 1 with a line from its top to the lower left."""
    width, height = mask.size
    ink = np.flatnonzero(np.asarray(mask)[round(0.6 * height) - 1] > 127)
    stem = float(ink[0]) if len(ink) else 0.0
    grow = max(0, round(style.reach * height - stem))
    flagged = Image.new("L", (width + grow, height), 0)
    flagged.paste(mask, (grow, 0))
    line = max(1.0, _stroke(mask, 0.6) * style.bar)
    x, drop = grow + stem, style.drop * height
    ImageDraw.Draw(flagged).polygon(
        [(x, 0), (x + line, 0), (x + line, line), (x + line - style.reach * height, drop + line),
         (max(0.0, x - style.reach * height), drop)], fill=255
    )  # fmt: skip
    return flagged


def _stroke(mask: Image.Image, level: float) -> float:
    """Thickness of the strokes at this share of the height, pixels: ink in the row by strokes."""
    row = np.asarray(mask)[min(mask.height - 1, int(level * mask.height))] > 127
    starts = int(row[0]) + int((row[1:] & ~row[:-1]).sum())
    return float(row.sum()) / max(1, starts)
