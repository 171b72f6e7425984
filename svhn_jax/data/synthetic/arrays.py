"""A prepared data set of synthetic photos, without the detour through archives.

The arrays are byte for byte those that preprocess makes of the same photos' archives; the manifest
says that they are synthetic.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

import svhn_jax
from svhn_jax import labels
from svhn_jax.data import arrays, crop, writing
from svhn_jax.data.prepare.assign import choose_validation
from svhn_jax.data.synthetic import render
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError


class Place(NamedTuple):
    """Where a photo's crop goes: a split, a row in it."""

    split: str
    row: int


class Task(NamedTuple):
    """Photos to render; and for each the images file and the offset in it that its crop goes to."""

    numbers: range
    targets: list[tuple[str, int]]


class Outcome(NamedTuple):
    """What is known of a photo whose crop was written: digits; number's left, top, width, height; width and height."""

    digits: tuple[int, ...]
    box: tuple[float, float, float, float]
    size: tuple[int, int]


def settings(
    counts: dict[str, int], *, size: int, margin: float, validation_fraction: float, seed: int
) -> dict[str, Any]:
    """What the arrays depend on, as it stands in the manifest: equal settings, equal arrays.

    counts: how many photos of each split of the source, train, extra and test, in this order; none of 0.
    """
    return {
        "format": arrays.FORMAT,
        "synthetic": {"generator": render.VERSION, "photos": counts},
        "crop": dataclasses.asdict(crop.CropRule(size, margin)),
        "validation_fraction": validation_fraction,
        "seed": seed,
        "limit": None,
        "versions": {"svhn_jax": svhn_jax.__version__, "numpy": np.__version__, "pillow": PIL.__version__},
    }


def refuse_other_folders(folder: Path) -> None:
    """Raises InputError if the folder, which will be replaced as a whole, holds anything but a synthetic data set."""
    _, others = writing.files_in(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return
    try:
        manifest = json.loads((folder / arrays.MANIFEST).read_bytes())
        is_synthetic = isinstance(manifest, dict) and "synthetic" in manifest
    except (OSError, ValueError, RecursionError):
        is_synthetic = False
    if others or not is_synthetic:
        raise InputError(f"{folder}: holds other things than a synthetic data set; give a new or an empty folder")


def build(folder: Path, wanted: dict[str, Any], workers: Workers, advance: Callable[[int], object]) -> None:
    """Renders and crops the photos of these settings into `folder`, which is emptied first.

    Args:
      wanted: as `settings` returns it.
      advance: is told of so many photos more.

    Raises:
      InputError: a process was killed, or too little space is free.
    """
    counts, size, seed = wanted["synthetic"]["photos"], wanted["crop"]["size"], wanted["seed"]
    shutil.rmtree(folder)
    folder.mkdir()
    writing.check_space(folder, sum(counts.values()) * size * size * 3)
    places = _places(wanted, workers)
    rows = {split: sum(place.split == split for place in chain(*places.values())) for split in _splits(counts)}
    offsets = {}
    for split, count in rows.items():
        (folder / split).mkdir()
        offsets[split] = writing.create_images(folder / split / "images.npy", count, size)
    found: dict[str, list[tuple[str, Outcome]]] = {split: [] for split in rows}
    for source, source_places in places.items():
        targets = [
            (str(folder / place.split / "images.npy"), offsets[place.split] + place.row * size * size * 3)
            for place in source_places
        ]
        tasks = (Task(block, targets[block.start - 1 : block.stop - 1]) for block in render.blocks(len(targets)))
        work = partial(_crop, seed, source, size, wanted["crop"]["margin"])
        for block, outcomes in zip(render.blocks(len(targets)), workers.in_order(work, tasks), strict=True):
            for number, outcome in zip(block, outcomes, strict=True):
                found[source_places[number - 1].split].append((f"{source}/{number}.png", outcome))
            advance(len(block))
    manifest = wanted | {
        "source_sha256": {source: _receipt(wanted, source) for source in counts},
        "splits": {split: _finish(folder / split, photos) for split, photos in found.items()},
        "sources": {
            source: {
                "path": f"{source} (synthetic)",
                "stamp": _receipt(wanted, source),
                "kept": count,
                "skipped": [],
                "noted": {},
            }
            for source, count in counts.items()
        },
    }
    writing.write_manifest(folder, manifest)


def _splits(counts: dict[str, int]) -> list[str]:
    """The splits that photos of these sources go to, be it none."""
    return [split for split in arrays.SPLITS if (split == "test") in {source == "test" for source in counts}]


def _places(wanted: dict[str, Any], workers: Workers) -> dict[str, list[Place]]:
    """For each photo of each source, its place, as in svhn_jax.data.prepare.assign: that takes the lengths of all numbers."""
    seed, filled = wanted["seed"], dict.fromkeys(arrays.SPLITS, 0)
    places: dict[str, list[Place]] = {}
    lengths = {
        source: np.array([*chain(*workers.in_order(partial(_lengths, seed, source), render.blocks(count)))], int)
        for source, count in wanted["synthetic"]["photos"].items()
    }
    for source, held_out in choose_validation(lengths, wanted["validation_fraction"], seed).items():
        places[source] = []
        for is_held_out in held_out.tolist():
            split = "test" if source == "test" else "validation" if is_held_out else "train"
            places[source].append(Place(split, filled[split]))
            filled[split] += 1
    return places


def _lengths(seed: int, source: str, numbers: range) -> list[int]:
    return [len(render.draw_digits(render.photo_rng(seed, source, number), source)) for number in numbers]


def _crop(seed: int, source: str, size: int, margin: float, task: Task) -> list[Outcome]:
    """Renders and crops photos and writes each crop to its row."""
    outcomes = []
    for number, (path, offset) in zip(task.numbers, task.targets, strict=True):
        rendering = render.render(render.photo_rng(seed, source, number), source)
        box = crop.union(rendering.boxes)
        assert box  # a number has digits
        image = crop.crop_number(rendering.photo, box, margin=margin, size=size)
        writing.write_image(path, offset, image)
        outcomes.append(Outcome(rendering.digits, box.left_top_width_height(), rendering.photo.size))
    return outcomes


def _finish(folder: Path, photos: list[tuple[str, Outcome]]) -> dict[str, Any]:
    return writing.finish_split(
        folder,
        np.array([labels.encode(photo.digits) for _, photo in photos], np.int32).reshape(-1, 6),
        [name for name, _ in photos],
        np.array([photo.box for _, photo in photos], np.float32).reshape(-1, 4),
        np.array([photo.size for _, photo in photos], np.int32).reshape(-1, 2),
    )


def _receipt(wanted: dict[str, Any], source: str) -> str:
    """Stands for the source's photos, as the SHA-256 of its archive would."""
    made_with = [wanted["synthetic"]["generator"], wanted["seed"], source, wanted["synthetic"]["photos"][source]]
    return hashlib.sha256(json.dumps(made_with).encode()).hexdigest()
