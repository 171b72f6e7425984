"""How well numbers are found and read in photos without boxes."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from svhn_jax.data.crop import Box
from svhn_jax.finding.boxes import iou
from svhn_jax.finding.material import Example
from svhn_jax.inference.finder import Candidate, Finder
from svhn_jax.inference.photo_reader import PhotoReader

LEAST_IOU = 0.5  # from which a number counts as found


@dataclass
class Tally:
    """Counts over photos of numbers.

    photos: all of them; boxed: those whose box is known.
    none: those in which nothing was found.
    first, any: those whose first candidate, or any candidate, has an IoU of at least 0.5 with the known box.
    right: whole numbers read rightly without the box; right_with_box: with it.
    """

    photos: int = 0
    boxed: int = 0
    none: int = 0
    first: int = 0
    any: int = 0
    right: int = 0
    right_with_box: int = 0

    def rates(self) -> dict[str, float]:
        """The counts of photos, and the others as shares of the photos they are counted in."""
        shares = {
            "none": self.none / max(1, self.photos),
            "right": self.right / max(1, self.photos),
            "recall": self.first / max(1, self.boxed),
            "recall_of_any": self.any / max(1, self.boxed),
            "right_with_box": self.right_with_box / max(1, self.boxed),
        }
        if not self.boxed:
            shares = {name: shares[name] for name in ("none", "right")}
        return dataclasses.asdict(self) | {f"{name}_rate": value for name, value in shares.items()}


def tally(reader: PhotoReader, finder: Finder, examples: Iterable[Example]) -> Tally:
    """Finds and reads the number of each photo. An example whose box is the whole photo has no known box."""
    counts = Tally()
    for example in examples:
        candidates = finder.find(example.photo)
        counts.photos += 1
        counts.none += not candidates
        counts.right += reader.read(example.photo).number == example.number
        if is_boxed(example):
            overlaps = overlaps_of(candidates, example.box)
            counts.boxed += 1
            counts.first += bool(overlaps[:1].max(initial=0) >= LEAST_IOU)
            counts.any += bool(overlaps.max(initial=0) >= LEAST_IOU)
            box = example.box.left_top_width_height()
            counts.right_with_box += reader.read(example.photo, box).number == example.number
    return counts


def is_boxed(example: Example) -> bool:
    return example.box != Box(0, 0, *example.photo.size)


def overlaps_of(candidates: list[Candidate], box: Box) -> np.ndarray:
    """float[n]: IoU of each candidate's box with another."""
    rows = np.array([candidate.box for candidate in candidates], float).reshape(-1, 4)
    return iou(rows, np.array([box], float))[:, 0]
