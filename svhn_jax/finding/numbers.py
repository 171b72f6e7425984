"""Digits of a photo joined into numbers: chains along a line, level, slanted or downwards."""

from typing import NamedTuple

import numpy as np

from svhn_jax.finding.boxes import Digits

# Chosen on the validation photos (docs/finder.md). Lengths are shares of the digits' height.
LEAST, SEED = 0.3, 0.3  # scores of a digit, and of the best of a number
WEAK = 0.55  # of the best digit's score: weaker digits at the ends are left out
RATIO = 1.35  # of the heights of two digits of one number, at most
GAP = (0.9, 1.0)  # most between neighbours beside and below one another
UNEVEN = 0.5  # most difference of two gaps of a number
OFF_LINE = 0.35  # most distance from the line through the digits
PENALTY = 0.35  # of a digit: a number gains by a digit of a higher score
SIZE_POWER = 0.25  # of two numbers the larger is more likely the photo's


class Number(NamedTuple):
    """Digits in reading order, whether they are a column, how likely it is the photo's number."""

    digits: Digits
    is_stack: bool
    value: float


class _Pairs(NamedTuple):
    """[n, n]: may digit j follow i, to the right or below; is it below; the gap, in heights."""

    follows: np.ndarray
    is_below: np.ndarray
    gap: np.ndarray


def join(found: Digits) -> list[Number]:
    """The numbers that merged digits form, the most likely first; a digit belongs to one."""
    found = found.take(found.scores >= LEAST)
    pairs = _pairs(found)
    chains: list[tuple[int, ...]] = [(n,) for n in range(len(found.scores))]
    for one, other in np.argwhere(pairs.follows).tolist():
        chain = _grown((one, other), found, pairs)
        while len(chain) > 1:
            first, last = found.scores[[chain[0], chain[-1]]]
            if min(first, last) >= WEAK * found.scores[list(chain)].max():
                break
            chain = chain[1:] if first < last else chain[:-1]
        chains.append(chain)
    numbers: list[Number] = []
    taken: set[int] = set()
    for chain in sorted(set(chains), key=lambda one: -_value(found, one)):
        if not taken & set(chain) and found.scores[list(chain)].max() >= SEED:
            taken |= set(chain)
            is_stack = len(chain) > 1 and bool(pairs.is_below[chain[0], chain[1]])
            numbers.append(Number(found.take(np.array(chain)), is_stack, _value(found, chain)))
    return numbers


def _value(found: Digits, chain: tuple[int, ...]) -> float:
    rows = list(chain)
    height = float(np.median(found.boxes[rows, 3] - found.boxes[rows, 1]))
    return max(1e-3, float((found.scores[rows] - PENALTY).sum())) * height**SIZE_POWER


def _pairs(found: Digits) -> _Pairs:
    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    sides, middles = high - low, (low + high) / 2
    height = (sides[:, None, 1] + sides[None, :, 1]) / 2
    away = (middles[None] - middles[:, None]) / height[..., None]
    between = np.maximum(low[:, None], low[None]) - np.minimum(high[:, None], high[None])
    gap = between / height[..., None]
    ratio = sides[:, None, 1] / sides[None, :, 1]
    width = np.maximum(np.maximum(sides[:, None, 0], sides[None, :, 0]) / height, 0.5)
    narrow = np.minimum(sides[:, None, 0], sides[None, :, 0]) / height
    beside = (abs(away[..., 1]) < 0.75) & (away[..., 0] > 0.2)
    beside &= (gap[..., 0] < GAP[0]) & (gap[..., 0] > -0.35 * narrow)
    below = ~beside & (abs(away[..., 0]) < 0.5 * width) & (away[..., 1] > 0.6)
    below &= (gap[..., 1] < GAP[1]) & (gap[..., 1] > -0.25)
    alike = np.maximum(ratio, 1 / ratio) < RATIO
    return _Pairs((beside | below) & alike, below, np.where(below, gap[..., 1], gap[..., 0]))


def _grown(chain: tuple[int, ...], found: Digits, pairs: _Pairs) -> tuple[int, ...]:
    """The chain, longer by the neighbours that continue its line, at both ends."""
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    heights = found.boxes[:, 3] - found.boxes[:, 1]
    is_below = pairs.is_below[chain[0], chain[1]]
    for at_end in (True, False):
        while True:
            end, before = (chain[-1], chain[-2]) if at_end else (chain[0], chain[1])
            linked = pairs.follows[end] if at_end else pairs.follows[:, end]
            below = pairs.is_below[end] if at_end else pairs.is_below[:, end]
            gaps = pairs.gap[end] if at_end else pairs.gap[:, end]
            usual = float(np.median(heights[list(chain)]))
            line = middles[end] - middles[chain[0] if at_end else chain[-1]]
            line = line / max(float(np.hypot(*line)), 1e-6)
            step = (middles - middles[end]) / usual
            off = abs(step[:, 0] * line[1] - step[:, 1] * line[0])
            uneven = abs(gaps - (pairs.gap[before, end] if at_end else pairs.gap[end, before]))
            may = linked & (below == is_below) & (step @ line > 0.15)
            may &= (off < OFF_LINE) & (uneven < UNEVEN)
            may &= np.maximum(heights, usual) < RATIO * np.minimum(heights, usual)
            may[list(chain)] = False
            if not may.any():
                break
            best = int(np.where(may, found.scores - 0.5 * off - 0.5 * uneven, -np.inf).argmax())
            chain = (*chain, best) if at_end else (best, *chain)
    return chain
