"""The report of a prepared data set: numbers, sizes, photos of each split, and skipped records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax import labels
from svhn_jax.data import arrays, statistics
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.reports import page, plots

PICTURES = 24
SKIPPED_LISTED = 200


def render(folder: Path) -> str:
    """The page as HTML.

    Raises:
      InputError: there is no prepared data set, it is damaged, or it has no photo.
    """
    manifest = arrays.read_manifest(folder)
    splits = {name: arrays.load_split(folder, name) for name in arrays.nonempty_splits(folder)}
    if not splits:
        raise InputError(f"{folder}: has no photo; its manifest.json says why each was skipped")
    crop = manifest["crop"]
    numbers = [
        *((f"{name} photos", f"{len(split.labels):,}", "") for name, split in splits.items()),
        ("crops", f"{crop['size']} x {crop['size']}", f"pixels; box grown by {crop['margin']:.0%}"),
    ]
    return page.render(
        f"Data {folder.resolve().name}",
        "A prepared data set.",
        numbers,
        [
            ("Numbers", "Splits that should be alike look alike here.", [_numbers(splits)]),
            ("Sizes", "In pixels.", [_sizes(folder, list(splits))]),
            ("Photos", "The crops as they are stored, with label and name.", _photos(splits)),
            ("Skipped", "", _skipped(manifest)),
        ],
    )


def _numbers(splits: Mapping[str, Split]) -> str:
    lengths = {name: statistics.lengths(split.labels) for name, split in splits.items()}
    present = np.flatnonzero(sum(lengths.values()))
    most = next(iter(splits.values())).max_digits
    names = [labels.length_name(int(length), most) for length in present]
    lengths = {name: counts[present] for name, counts in lengths.items()}
    charts = [("Lengths", plots.grouped_shares(lengths, names, "digits in the number"))]
    positions = {name: statistics.positions(split.labels) for name, split in splits.items()}
    for place in range(most):
        digits = {name: counts[place, : labels.BLANK] for name, counts in positions.items()}
        if any(counts.any() for counts in digits.values()):
            title = f"Digit {place + 1}"
            charts.append((title, plots.grouped_shares(digits, "0123456789", title.lower())))
    return page.plots(charts)


def _sizes(folder: Path, splits: list[str]) -> str:
    quantiles = {name: statistics.quantiles(*arrays.load_geometry(folder, name)) for name in splits}
    rows = [
        [quantity, name, *(f"{x:,.2f}".removesuffix(".00") for x in values[quantity])]
        for quantity in quantiles[splits[0]]
        for name, values in quantiles.items()
    ]
    return page.table(("", "split", "least", "1 %", "median", "99 %", "greatest"), rows)


def _photos(splits: Mapping[str, Split]) -> list[str]:
    galleries = []
    for name, (images, targets, names, *_) in splits.items():
        rows = np.sort(np.random.default_rng(0).permutation(len(targets))[:PICTURES])
        title = f"{name} ({len(rows)} of {len(targets):,}, drawn at random)"
        shown = [
            page.picture(images[row], labels.shown(targets[row]), names[row].decode())
            for row in rows
        ]
        galleries.append(page.gallery(title, shown))
    return galleries


def _skipped(manifest: Mapping[str, Any]) -> list[str]:
    sources = manifest["sources"].items()
    skipped = [
        (f"{name}/{one['name']}", one["reason"])
        for name, source in sources
        for one in source["skipped"]
    ]
    head = f"{len(skipped):,} skipped (at most {SKIPPED_LISTED} are listed)"
    return [page.table((head, "why"), skipped[:SKIPPED_LISTED])]
