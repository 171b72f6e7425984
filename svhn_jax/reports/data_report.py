"""The report of a prepared data set: numbers, sizes, photos of each split, and skipped records."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax import labels
from svhn_jax.data import arrays, statistics
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.reports import page, plots
from svhn_jax.reports.page import Section

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
    crop, sources = manifest["crop"], manifest["sources"].values()
    skipped = sum(len(source["skipped"]) for source in sources)
    numbers = [
        *((f"{name} photos", f"{len(split.labels):,}", "") for name, split in splits.items()),
        ("skipped", f"{skipped:,}", "records that could not be used"),
        ("crops", f"{crop['size']} x {crop['size']}", f"pixels; box grown by {crop['margin']:.0%}"),
    ]
    sections: list[Section] = [
        ("Numbers", "Splits that should be alike look alike here.", [_numbers(splits)]),
        ("Sizes", "In pixels.", [_sizes(folder, list(splits))]),
        ("Photos", "The crops as they are stored, with label and name.", _photos(splits)),
        ("Skipped and noted", f"{skipped:,} records were skipped.", _skipped(manifest)),
    ]
    return page.render(f"Data {folder.resolve().name}", "A prepared data set.", numbers, sections)


def _numbers(splits: Mapping[str, Split]) -> str:
    most = next(iter(splits.values())).max_digits
    lengths = {name: statistics.lengths(split.labels) for name, split in splits.items()}
    present = np.flatnonzero(sum(lengths.values()))
    names = [labels.length_name(int(length), most) for length in present]
    charts = [_chart("Lengths", names, {name: row[present] for name, row in lengths.items()})]
    digits = {name: statistics.positions(split.labels) for name, split in splits.items()}
    for position in range(most):
        counts = {name: rows[position, : labels.BLANK] for name, rows in digits.items()}
        if any(row.any() for row in counts.values()):
            charts.append(_chart(f"Digit {position + 1}", list("0123456789"), counts))
    return page.plots(charts)


def _chart(title: str, names: list[str], counts: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """The share of each category in each split."""
    shares = {
        split: dict(zip(names, row / max(1, row.sum()), strict=True))
        for split, row in counts.items()
    }
    return title, plots.grouped_shares(shares, title.lower(), "photos")


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
    for name, split in splits.items():
        rows = np.sort(np.random.default_rng(0).permutation(len(split.labels))[:PICTURES])
        title = f"{name} ({len(rows)} of {len(split.labels):,}, drawn at random)"
        pictures = [
            page.picture(
                split.images[row], labels.shown(split.labels[row]), split.names[row].decode()
            )
            for row in rows
        ]
        galleries.append(page.gallery(title, pictures))
    return galleries


def _skipped(manifest: Mapping[str, Any]) -> list[str]:
    noted: Counter[str] = Counter()
    records = []
    for name, source in manifest["sources"].items():
        noted.update(source["noted"])
        records += [(f"{name}/{one['name']}", one["reason"]) for one in source["skipped"]]
    tables = []
    if noted:
        tables.append(page.table(("kept, with a note", "photos"), list(noted.items())))
    if records:
        head = f"skipped (at most {SKIPPED_LISTED} are listed)"
        tables.append(page.table((head, "why"), records[:SKIPPED_LISTED]))
    return tables
