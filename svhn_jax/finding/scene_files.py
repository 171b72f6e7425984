"""Training scenes on disk: composed once by worker processes, then read at random."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from svhn_jax import files
from svhn_jax.data.workers import Workers
from svhn_jax.finding import material
from svhn_jax.finding.config import SCENE
from svhn_jax.finding.scenes import compose

AT_ONCE = 64  # scenes of a task
VERSION = 2  # counts up when the scenes change


class Scenes(NamedTuple):
    """images uint8[N, SCENE, SCENE, 3], on disk; boxes float32[N, 4], as of `scenes.Scene`."""

    images: np.ndarray
    boxes: np.ndarray


def build(
    folder: Path,
    count: int,
    seed: int,
    raw: Path,
    boxed: Path | None,
    workers: Workers,
    advance: Callable[[int], object],
) -> Scenes:
    """Composes scenes, or opens those that an earlier call with the same arguments finished in this folder."""
    wanted = {
        "version": VERSION,
        "count": count,
        "seed": seed,
        "raw": str(raw),
        "boxed": str(boxed),
    }
    done = folder / "scenes.json"
    if not done.exists() or json.loads(done.read_text()) != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        done.unlink(missing_ok=True)
        shape = (count, SCENE, SCENE, 3)
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
        boxes = np.empty((count, 4), np.float32)
        tasks = [range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
        parts = workers.in_order(functools.partial(_compose, raw, boxed, seed), tasks)
        for numbers, (pixels, rows) in zip(tasks, parts, strict=True):
            images[numbers.start : numbers.stop], boxes[numbers.start : numbers.stop] = pixels, rows
            advance(len(numbers))
        images.flush()
        np.save(folder / "boxes.npy", boxes)
        files.write_text(done, json.dumps(wanted))
    return Scenes(np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "boxes.npy"))


def _compose(
    raw: Path, boxed: Path | None, seed: int, numbers: range
) -> tuple[np.ndarray, np.ndarray]:
    """The scenes of these numbers: each a function of (seed, its number, the material)."""
    made = [
        compose(np.random.default_rng([seed, number]), material.training(raw, boxed))
        for number in numbers
    ]
    return np.stack([one.image for one in made]), np.stack([one.box for one in made])
