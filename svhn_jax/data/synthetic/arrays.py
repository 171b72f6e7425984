"""Makes a prepared data set of synthetic photos.

The arrays are byte for byte those that preprocess makes of the same photos; the manifest states
that they are synthetic.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax.data import crop, preparing, writing
from svhn_jax.data.records import Record
from svhn_jax.data.synthetic import render, typesetting
from svhn_jax.data.workers import Workers
from svhn_jax.data.writing import Crop


def settings(counts: dict[str, int], rule: crop.CropRule, **others: Any) -> dict[str, Any]:
    """The part of the manifest that the arrays depend on.

    counts: photos of train, extra and test, in this order, without those of 0 photos.
    others: as for svhn_jax.data.preparing.settings.
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
    counts = settings["synthetic"]["photos"]

    def in_blocks(work: Callable[..., list[Any]], source: str) -> Iterator[list[Any]]:
        return workers.in_order(partial(work, settings, source), render.blocks(counts[source]))

    def crops(source: str) -> Iterator[Crop]:
        for block in in_blocks(_render, source):
            yield from block
            advance(len(block))

    lengths = {source: np.concatenate([*in_blocks(_draw_lengths, source)]) for source in counts}
    splits = writing.write_splits(folder, settings, lengths, crops)
    sources = {
        source: {"path": f"{source} (synthetic)", "kept": count, "skipped": []}
        for source, count in counts.items()
    }
    writing.write_manifest(folder, settings | {"splits": splits, "sources": sources})


def _draw_lengths(settings: dict[str, Any], source: str, numbers: range) -> list[int]:
    """The number of digits of the photos of a source with these numbers."""
    rngs = (render.photo_rng(settings["seed"], source, number) for number in numbers)
    return [len(typesetting.draw_digits(rng, source, settings["max_digits"])) for rng in rngs]


def _render(settings: dict[str, Any], source: str, numbers: range) -> list[Crop]:
    """Renders and crops the photos of a source with these numbers, from 1."""
    rendered = []
    for number in numbers:
        rng = render.photo_rng(settings["seed"], source, number)
        photo, digits, boxes = render.render(rng, source, settings["max_digits"])
        record = Record(f"{number}.png", digits, boxes)
        rendered.append(writing.crop_photo(photo, record, number - 1, source, settings))
    return rendered
