"""From which score on a place in a photo is called a number."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.finding import large_scenes, material
from svhn_jax.inference.finder import Finder

EMPTY_SIZE = (
    1600,
    1200,
)  # pixels, of the synthetic scenes without a number in which none should be found
EMPTY_SEED = 1_000_000  # of them; scenes of training have seeds below
MISSED_SHARE = 0.02  # of the validation numbers: at most this share may score below the least score


def best_scores(finder: Finder, photos: Iterable[Image.Image]) -> np.ndarray:
    """float[N]: the score of each photo's best candidate, however low."""
    found = (finder.find(photo, least_score=0.0) for photo in photos)
    return np.array([candidates[0].score if candidates else 0.0 for candidates in found])


class Chosen(NamedTuple):
    """The least score of a number, and what it does on the photos on which it was chosen."""

    least_score: float
    numbers: int
    missed: int
    empties: int
    false: int

    def __str__(self) -> str:
        return (
            f"least score {self.least_score:.2f}: it passes over {self.missed:,} of {self.numbers:,} validation numbers, "
            f"and takes {self.false:,} of {self.empties:,} scenes without a number for one"
        )


def choose_least_score(finder: Finder, raw: Path, empty_scenes: int) -> Chosen:
    """Chooses the least score on the validation photos of train, and counts what it does on scenes without a number."""
    held_out = [example.photo for example in material.validation(raw)]
    return _choose(best_scores(finder, held_out), best_scores(finder, empties(empty_scenes)))


def empties(count: int) -> Iterator[Image.Image]:
    """Synthetic scenes without a number, one after the other."""
    return (
        large_scenes.empty(np.random.default_rng([EMPTY_SEED, number]), EMPTY_SIZE)
        for number in range(count)
    )


def _choose(numbers: np.ndarray, empties: np.ndarray) -> Chosen:
    """The greatest score of two decimals that passes over at most MISSED_SHARE of the numbers."""
    least = max(one for one in np.arange(100) / 100 if (numbers < one).mean() <= MISSED_SHARE)
    return Chosen(
        float(least),
        len(numbers),
        int((numbers < least).sum()),
        len(empties),
        int((empties >= least).sum()),
    )
