"""How well numbers are found and read in photos without boxes, and from which score on a place is called a number."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.data.crop import Box
from svhn_jax.finding import large_scenes, material
from svhn_jax.finding.boxes import iou
from svhn_jax.finding.material import Example
from svhn_jax.inference.finder import Candidate, Finder
from svhn_jax.inference.photo_reader import PhotoReader

LEAST_IOU = 0.5  # from which a number counts as found
EMPTY_SIZE = (
    1600,
    1200,
)  # pixels, of the synthetic scenes without a number in which none should be found
EMPTY_SEED = 1_000_000  # of them; scenes of training have seeds below
MISSED_SHARE = 0.02  # of the validation numbers: at most this share may score below the least score


@dataclass
class Tally:
    """Counts over photos of numbers.

    photos: all of them; boxed: those whose box is known.
    none: those in which nothing was found.
    found, any: those where the box that was read, or any candidate, has an IoU of at least 0.5 with the known box.
    right: whole numbers read rightly without the box; right_with_box: with it.
    """

    photos: int = 0
    boxed: int = 0
    none: int = 0
    found: int = 0
    any: int = 0
    right: int = 0
    right_with_box: int = 0

    def as_json(self) -> dict[str, float]:
        """The counts, and each as a share of the photos it is counted in."""
        counts = dataclasses.asdict(self)
        totals = {"none": self.photos, "right": self.photos}
        if self.boxed:
            totals |= dict.fromkeys(("found", "any", "right_with_box"), self.boxed)
        return counts | {
            f"{name}_share": counts[name] / max(1, total) for name, total in totals.items()
        }

    def __str__(self) -> str:
        text = f"{self.photos:,} photos: {self.right / max(1, self.photos):.3f} of whole numbers right, {self.none:,} without a number found"
        if self.boxed:
            text += (
                f"; box found with IoU 0.5: {self.found / self.boxed:.3f} (in any of the candidates {self.any / self.boxed:.3f});"
                f" right with the known box: {self.right_with_box / self.boxed:.3f}"
            )
        return text


class Watched:
    """A finder that keeps the last candidates it gave, so that they can be counted beside what was read in them."""

    def __init__(self, finder: Finder):
        self._finder = finder
        self.last: list[Candidate] = []

    def find(self, photo: Image.Image) -> list[Candidate]:
        self.last = self._finder.find(photo)
        return self.last


def tally(reader: PhotoReader, finder: Watched, examples: Iterable[Example]) -> Tally:
    """Reads the number of each photo with a reader that searches with `finder`. An example whose box is the whole photo has no known box."""
    counts = Tally()
    for example in examples:
        reading = reader.read(example.photo)
        counts.photos += 1
        counts.none += not finder.last
        counts.right += reading.number == example.number
        if example.box == Box(0, 0, *example.photo.size):
            continue
        counts.boxed += 1
        read_box = [Candidate(reading.box, 1.0)] if reading.box else []
        counts.found += bool(overlaps_of(read_box, example.box).max(initial=0) >= LEAST_IOU)
        counts.any += bool(overlaps_of(finder.last, example.box).max(initial=0) >= LEAST_IOU)
        box = example.box.left_top_width_height()
        counts.right_with_box += reader.read(example.photo, box).number == example.number
    return counts


def overlaps_of(candidates: list[Candidate], box: Box) -> np.ndarray:
    """float[n]: IoU of each candidate's box with another."""
    rows = np.array([candidate.box for candidate in candidates], float).reshape(-1, 4)
    return iou(rows, np.array([box], float))[:, 0]


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
