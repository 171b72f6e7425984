"""Makes a prepared data set of synthetic photos without archives.

The arrays are byte for byte those that preprocess makes of archives of the same photos; the manifest
states that they are synthetic.
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
from svhn_jax import files, labels
from svhn_jax.data import arrays, crop, writing
from svhn_jax.data.prepare.assign import Places, place, rows_of_splits
from svhn_jax.data.synthetic import render, typesetting
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError


class Task(NamedTuple):
    """Photos to render, and for each the images file and the offset in it for its crop."""

    numbers: range
    targets: list[tuple[str, int]]


class Outcome(NamedTuple):
    """A photo whose crop was written: its number in the source, digits, box (left, top, width, height) and size."""

    number: int
    digits: tuple[int, ...]
    box: tuple[float, float, float, float]
    size: tuple[int, int]


def settings(
    counts: dict[str, int],
    *,
    size: int,
    margin: float,
    max_digits: int,
    validation_fraction: float,
    seed: int,
) -> dict[str, Any]:
    """Everything that the arrays depend on, as in the manifest.

    counts: photos of train, extra and test, in this order, without those of 0 photos.
    """
    return {
        "format": arrays.FORMAT,
        "synthetic": {"generator": render.VERSION, "photos": counts},
        "crop": dataclasses.asdict(crop.CropRule(size, margin)),
        "max_digits": max_digits,
        "validation_fraction": validation_fraction,
        "seed": seed,
        "limit": None,
        "versions": {
            "svhn_jax": svhn_jax.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
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
        raise InputError(
            f"{folder}: holds other files than a synthetic data set; give a new or an empty folder"
        )


def build(
    folder: Path, wanted: dict[str, Any], workers: Workers, advance: Callable[[int], object]
) -> None:
    """Renders and crops the photos of these settings into `folder`, which is emptied first.

    Args:
      folder: of the new data set.
      wanted: as `settings` returns it.
      workers: render and crop.
      advance: is called with the number of photos that were added.

    Raises:
      InputError: a process was killed, or too little space is free.
    """
    counts, size, max_digits = (
        wanted["synthetic"]["photos"],
        wanted["crop"]["size"],
        wanted["max_digits"],
    )
    shutil.rmtree(folder)
    folder.mkdir()
    files.check_space(folder, sum(counts.values()) * size * size * 3)
    places = _places(wanted, workers)
    rows = rows_of_splits(places)
    offsets = {}
    for split, count in rows.items():
        (folder / split).mkdir()
        offsets[split] = writing.create_images(folder / split / "images.npy", count, size)
    found: dict[str, list[tuple[str, Outcome]]] = {split: [] for split in rows}
    for source, (splits, source_rows) in places.items():
        names = [arrays.SPLITS[split] for split in splits]
        targets = [
            (str(folder / split / "images.npy"), offsets[split] + row * size * size * 3)
            for split, row in zip(names, source_rows.tolist(), strict=True)
        ]
        tasks = (
            Task(block, targets[block.start - 1 : block.stop - 1])
            for block in render.blocks(len(targets))
        )
        work = partial(_crop, wanted, source)
        for outcomes in workers.in_order(work, tasks):
            for outcome in outcomes:
                found[names[outcome.number - 1]].append((f"{source}/{outcome.number}.png", outcome))
            advance(len(outcomes))
    manifest = wanted | {
        "source_sha256": {source: _receipt(wanted, source) for source in counts},
        "splits": {
            split: _finish(folder / split, photos, max_digits) for split, photos in found.items()
        },
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


def _places(wanted: dict[str, Any], workers: Workers) -> dict[str, Places]:
    """Where the photos of each source go, as in svhn_jax.data.prepare.assign, which needs the lengths of all numbers."""
    seed, max_digits = wanted["seed"], wanted["max_digits"]
    lengths = {
        source: np.array(
            [
                *chain(
                    *workers.in_order(
                        partial(_lengths, seed, source, max_digits), render.blocks(count)
                    )
                )
            ],
            int,
        )
        for source, count in wanted["synthetic"]["photos"].items()
    }
    return place(lengths, wanted["validation_fraction"], seed, max_digits)


def _lengths(seed: int, source: str, max_digits: int, numbers: range) -> list[int]:
    rngs = (render.photo_rng(seed, source, number) for number in numbers)
    return [len(typesetting.draw_digits(rng, source, max_digits)) for rng in rngs]


def _crop(wanted: dict[str, Any], source: str, task: Task) -> list[Outcome]:
    """Renders and crops photos and writes each crop to its row."""
    size, margin = wanted["crop"]["size"], wanted["crop"]["margin"]
    outcomes = []
    for number, (path, offset) in zip(task.numbers, task.targets, strict=True):
        rendering = render.render(
            render.photo_rng(wanted["seed"], source, number), source, wanted["max_digits"]
        )
        box = crop.union(rendering.boxes)
        assert box  # a number has digits
        image = crop.crop_number(rendering.photo, box, margin=margin, size=size)
        writing.write_image(path, offset, image)
        outcomes.append(
            Outcome(number, rendering.digits, box.left_top_width_height(), rendering.photo.size)
        )
    return outcomes


def _finish(folder: Path, photos: list[tuple[str, Outcome]], max_digits: int) -> dict[str, Any]:
    return writing.finish_split(
        folder,
        labels.encode_all([photo.digits for _, photo in photos], max_digits),
        [name for name, _ in photos],
        np.array([photo.box for _, photo in photos], np.float32).reshape(-1, 4),
        np.array([photo.size for _, photo in photos], np.int32).reshape(-1, 2),
    )


def _receipt(wanted: dict[str, Any], source: str) -> str:
    """A hash that identifies the source's photos, like the SHA-256 of an archive."""
    made_with = [
        wanted["synthetic"]["generator"],
        wanted["seed"],
        source,
        wanted["synthetic"]["photos"][source],
    ]
    if wanted["max_digits"] > typesetting.PUBLISHED_DIGITS:
        made_with.append(wanted["max_digits"])
    return hashlib.sha256(json.dumps(made_with).encode()).hexdigest()
