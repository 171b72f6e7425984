"""Training scenes on disk: composed once by worker processes, then read at random.

DIR/scenes.json             what they were made of; written last
DIR/SPLIT/images.npy        uint8[N, SCENE, SCENE, 3]
DIR/SPLIT/digits.npy        float32[N, MOST_DIGITS, 5], see `scenes.Scene`
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from svhn_jax import files
from svhn_jax.data.arrays import MANIFEST
from svhn_jax.data.crop import CropRule
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError
from svhn_jax.finding import material
from svhn_jax.finding.scenes import MOST_DIGITS, SCENE, compose

SPLITS = ("train", "validation")
AT_ONCE = 64  # scenes of a task
VERSION = 4  # counts up when the scenes change


class Scenes(NamedTuple):
    """images: uint8[N, SCENE, SCENE, 3], on disk; labels: their digits, see `scenes.Scene`."""

    images: np.ndarray
    labels: np.ndarray
    fingerprint: str
    crop: CropRule = CropRule(SCENE, 0.0)

    def __len__(self) -> int:
        return len(self.images)


def build(
    folder: Path,
    counts: dict[str, int],
    seed: int,
    sources: dict[str, str | None],
    workers: Workers,
    advance: Callable[[int], object],
) -> None:
    """Composes scenes, unless an earlier call with the same arguments finished them in this folder.

    Args:
      counts: of the scenes of each split.
      sources: the folders "raw", "boxed" (or None) and "empty" of `material.of_split`.
    """
    wanted = {"version": VERSION, "counts": counts, "seed": seed, "sources": sources}
    done = folder / "scenes.json"
    if done.exists() and json.loads(done.read_text()) == wanted:
        return
    if (folder / MANIFEST).exists():
        raise InputError(f"{folder}: holds a prepared data set; give another --data.dir")
    done.unlink(missing_ok=True)
    for split, count in counts.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        shape = (count, SCENE, SCENE, 3)
        images = np.lib.format.open_memmap(folder / split / "images.npy", "w+", np.uint8, shape)
        digits = np.empty((count, MOST_DIGITS, 5), np.float32)
        tasks = [range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
        work = functools.partial(_compose, sources, split, seed)
        for numbers, (pixels, rows) in zip(tasks, workers.in_order(work, tasks), strict=True):
            part = slice(numbers.start, numbers.stop)
            images[part], digits[part] = pixels, rows
            advance(len(numbers))
        images.flush()
        np.save(folder / split / "digits.npy", digits)
    files.write_text(done, json.dumps(wanted))


def load(folder: str, split: str) -> Scenes:
    """The scenes of a split; InputError if they are not complete."""
    path = Path(folder)
    if not (path / "scenes.json").is_file():
        raise InputError(
            f"{folder}: no scenes there; compose them with python -m svhn_jax.train_finder"
        )
    images = np.load(path / split / "images.npy", mmap_mode="r")
    return Scenes(
        images, np.load(path / split / "digits.npy"), files.sha256(path / split / "digits.npy")
    )


def _compose(
    sources: dict[str, str | None], split: str, seed: int, numbers: range
) -> tuple[np.ndarray, np.ndarray]:
    """The scenes of these numbers: each a function of (seed, split, its number, the material)."""
    made = material.of_split(split, **sources)
    rngs = (np.random.default_rng([seed, SPLITS.index(split), number]) for number in numbers)
    images, digits = zip(*(compose(rng, made) for rng in rngs), strict=True)
    return np.stack(images), np.stack(digits)
