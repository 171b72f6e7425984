"""Makes a prepared data set of synthetic photos without archives.

The arrays are byte for byte those that preprocess makes of archives of the same photos; the
manifest states that they are synthetic.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svhn_jax import labels
from svhn_jax.data import crop, writing
from svhn_jax.data.prepare import build as preparing
from svhn_jax.data.prepare.assign import choose_validation, splits_of
from svhn_jax.data.synthetic import render, typesetting
from svhn_jax.data.workers import Workers
from svhn_jax.data.writing import Row


class Rendered(NamedTuple):
    """A crop uint8[size, size, 3], the digits, their box and the photo's size in pixels."""

    image: np.ndarray
    digits: tuple[int, ...]
    box: crop.Box
    size: tuple[int, int]


def settings(counts: dict[str, int], rule: crop.CropRule, **others: Any) -> dict[str, Any]:
    """The part of the manifest that the arrays depend on.

    counts: photos of train, extra and test, in this order, without those of 0 photos.
    others: as for svhn_jax.data.prepare.build.settings.
    """
    made_by = {"generator": render.VERSION, "photos": counts}
    return preparing.settings(rule, **others) | {"synthetic": made_by}


def build(
    folder: Path, settings: dict[str, Any], workers: Workers, advance: Callable[[int], object]
) -> None:
    """Renders and crops photos into the empty `folder`; calls `advance` with counts of photos.

    Raises:
      InputError: a process was killed, or too little space is free.
    """
    counts, max_digits = settings["synthetic"]["photos"], settings["max_digits"]
    lengths = {source: _lengths(settings, source, workers) for source in counts}
    held_out = choose_validation(
        lengths, settings["validation_fraction"], settings["seed"], max_digits
    )
    with writing.open_splits(folder, counts, settings["crop"]["size"], max_digits) as writers:
        for order, source in enumerate(counts):
            targets = splits_of(source, held_out[source])
            work, number = partial(_render, settings, source), 0
            for block in workers.in_order(work, render.blocks(counts[source])):
                for one in block:
                    number += 1
                    label = labels.encode(one.digits, max_digits)
                    box, name = one.box.left_top_width_height(), f"{source}/{number}.png"
                    row = Row((order, number), name, label, box, one.size)
                    writers[targets[number - 1]].add(one.image, row)
                advance(len(block))
        splits = {split: writer.finish() for split, writer in writers.items()}
    sources = {
        source: {"path": f"{source} (synthetic)", "kept": count, "skipped": [], "noted": {}}
        for source, count in counts.items()
    }
    writing.write_manifest(folder, settings | {"splits": splits, "sources": sources})


def _lengths(settings: dict[str, Any], source: str, workers: Workers) -> np.ndarray:
    """int[N]: the number of digits of each photo of a source."""
    work = partial(_draw_lengths, settings["seed"], source, settings["max_digits"])
    blocks = workers.in_order(work, render.blocks(settings["synthetic"]["photos"][source]))
    return np.array([length for block in blocks for length in block], int)


def _draw_lengths(seed: int, source: str, max_digits: int, numbers: range) -> list[int]:
    rngs = (render.photo_rng(seed, source, number) for number in numbers)
    return [len(typesetting.draw_digits(rng, source, max_digits)) for rng in rngs]


def _render(settings: dict[str, Any], source: str, numbers: range) -> list[Rendered]:
    """Renders and crops the photos of a source with these numbers."""
    size, margin = settings["crop"]["size"], settings["crop"]["margin"]
    rendered = []
    for number in numbers:
        rng = render.photo_rng(settings["seed"], source, number)
        one = render.render(rng, source, settings["max_digits"])
        box = crop.number_in(one.boxes, *one.photo.size)
        image = crop.crop_number(one.photo, box, margin=margin, size=size)
        rendered.append(Rendered(image, one.digits, box, one.photo.size))
    return rendered
