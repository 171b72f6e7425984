"""The report of a prepared data set: sizes, lengths and digits of each split side by side, photos, and what was skipped."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svhn_jax import labels
from svhn_jax.data import arrays, statistics
from svhn_jax.errors import InputError
from svhn_jax.reports import page, plots
from svhn_jax.reports.page import Gallery, Picture, Section, Table

PICTURES = 24
SKIPPED_LISTED = 200


class _Split(NamedTuple):
    data: arrays.Split
    boxes: np.ndarray
    sizes: np.ndarray


def render(folder: Path) -> str:
    """The page as HTML.

    Raises:
      InputError: there is no prepared data set, it is damaged, or it has no photo.
    """
    manifest = arrays.read_manifest(folder)
    splits = {
        name: _Split(arrays.load_split(folder, name), *arrays.load_geometry(folder, name))
        for name in arrays.nonempty_splits(folder)
    }
    if not splits:
        raise InputError(
            f"{folder}: has no photo; preprocess others, and see why these were skipped in its manifest.json"
        )
    crop = manifest["crop"]
    counts = {name: len(split.data.labels) for name, split in splits.items()}
    skipped = sum(len(source["skipped"]) for source in manifest["sources"].values())
    numbers = [(f"{name} photos", f"{count:,}", "") for name, count in counts.items()] + [
        ("skipped", f"{skipped:,}", "records that could not be used"),
        ("crops", f"{crop['size']} x {crop['size']}", f"pixels; box grown by {crop['margin']:.0%}"),
    ]
    sections = [_numbers(splits), _sizes(splits), _photos(splits), _skipped(manifest)]
    subtitle = (
        "A prepared data set: "
        + ", ".join(f"{count:,} {name}" for name, count in counts.items())
        + "."
    )
    return page.render(f"Data {folder.resolve().name}", subtitle, numbers, sections)


def _numbers(splits: dict[str, _Split]) -> Section:
    by_length, digits = {}, {}
    max_digits = next(iter(splits.values())).data.max_digits
    for name, split in splits.items():
        lengths = statistics.lengths(split.data.labels)
        by_length[name] = {n: count / lengths.sum() for n, count in enumerate(lengths) if count}
        digits[name] = statistics.positions(split.data.labels)
    present = sorted({length for shares in by_length.values() for length in shares})
    ordered = {
        name: {labels.length_name(n, max_digits): shares.get(n, 0.0) for n in present}
        for name, shares in by_length.items()
    }
    charts = [("Lengths", plots.grouped_shares(ordered, "digits in the number", "photos"))]
    for position in range(max_digits):
        counts = {name: table[position, : labels.BLANK] for name, table in digits.items()}
        if any(row.sum() for row in counts.values()):
            shares = {
                name: {str(digit): count / max(1, row.sum()) for digit, count in enumerate(row)}
                for name, row in counts.items()
            }
            title = f"Digit {position + 1}"
            charts.append(
                (
                    title,
                    plots.grouped_shares(
                        shares, f"digit at position {position + 1}", "numbers that have one"
                    ),
                )
            )
    return Section(
        "numbers", "Numbers", "Splits that should be alike look alike here.", plots=charts
    )


def _sizes(splits: dict[str, _Split]) -> Section:
    charts = [
        (title, plots.histograms({name: take(split) for name, split in splits.items()}, xlabel))
        for title, xlabel, take in (
            (
                "Height of the number",
                "height of the number's box (pixels)",
                lambda split: split.boxes[:, 3],
            ),
            ("Width of the photo", "width of the photo (pixels)", lambda split: split.sizes[:, 0]),
        )
    ]
    quantiles = {
        name: statistics.quantiles(split.boxes, split.sizes) for name, split in splits.items()
    }
    rows = [
        [quantity, name, *(f"{x:,.2f}".removesuffix(".00") for x in table[quantity])]
        for quantity in next(iter(quantiles.values()), {})
        for name, table in quantiles.items()
    ]
    table = Table(("", "split", "least", "1 %", "median", "99 %", "greatest"), rows)
    return Section("sizes", "Sizes", plots=charts, tables=[table])


def _photos(splits: dict[str, _Split]) -> Section:
    galleries = []
    for name, split in splits.items():
        rows = np.sort(np.random.default_rng(0).permutation(len(split.data.labels))[:PICTURES])
        photos = [_picture(split.data, row) for row in rows]
        galleries.append(
            Gallery(f"{name} ({len(rows)} of {len(split.data.labels):,}, drawn at random)", photos)
        )
    return Section(
        "photos",
        "Photos",
        "The crops as they are stored, with label and name.",
        galleries=galleries,
    )


def _picture(data: arrays.Split, row: int) -> Picture:
    text, name = labels.shown(data.labels[row]), data.names[row].decode()
    return Picture(page.picture_url(data.images[row]), f"{name}, labelled {text}", text, name)


def _skipped(manifest: dict[str, Any]) -> Section:
    records = [
        (f"{source}/{one['name']}", one["reason"])
        for source, entry in manifest["sources"].items()
        for one in entry["skipped"]
    ]
    noted: Counter[str] = sum(
        (Counter(entry["noted"]) for entry in manifest["sources"].values()), Counter()
    )
    tables = []
    if noted:
        tables.append(Table(("kept, with a note", "photos"), list(noted.items())))
    if records:
        title = (
            ""
            if len(records) <= SKIPPED_LISTED
            else f"the first {SKIPPED_LISTED} of {len(records):,}"
        )
        tables.append(Table(("skipped", "why"), records[:SKIPPED_LISTED], title, text_columns=(1,)))
    text = f"{len(records):,} skipped." if records else "No record was skipped."
    return Section("skipped", "Skipped and noted", text, tables=tables)
