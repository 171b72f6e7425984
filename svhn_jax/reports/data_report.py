"""The report of a prepared data set: numbers, sizes, photos, suspicious and skipped records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax import labels
from svhn_jax.data import arrays
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.reports import page, plots

PICTURES = 24
ROWS_LISTED = 200
QUANTILES = (0.0, 0.01, 0.5, 0.99, 1.0)
# Measured on the 46,470 published train and test numbers:
SMALL_PIXELS = 10  # of height; one number has less
NARROW, WIDE = 0.14, 1.12  # width of a digit / height; one number in a thousand is beyond each


def render(folder: Path) -> str:
    """The page as HTML. All arrays are checked against their SHA-256.

    Raises:
      InputError: there is no prepared data set, it is damaged, or it has no photo.
    """
    manifest = arrays.read_manifest(folder)
    if damaged := arrays.damaged_arrays(folder):
        raise InputError(f"{folder}: damaged; preprocess again", damaged)
    names = [name for name, entry in manifest["splits"].items() if entry["examples"]]
    splits = {name: arrays.load_split(folder, name) for name in names}
    geometry = {name: arrays.load_geometry(folder, name) for name in names}
    if not splits:
        raise InputError(f"{folder}: has no photo; its manifest.json says why each was skipped")
    crop = manifest["crop"]
    numbers = [
        *((f"{name} photos", f"{len(split.labels):,}", "") for name, split in splits.items()),
        ("crops", f"{crop['size']} x {crop['size']}", f"pixels; box grown by {crop['margin']:.0%}"),
    ]
    suspicious = [
        (split.names[row].decode(), why)
        for name, split in splits.items()
        for why, rows in find_suspicious(split.labels, *geometry[name]).items()
        for row in rows
    ]
    skipped = [
        (f"{name}/{one['name']}", one["reason"])
        for name, source in manifest["sources"].items()
        for one in source["skipped"]
    ]
    return page.render(
        f"Data {folder.resolve().name}",
        "A prepared data set; its arrays match their checksums.",
        numbers,
        [
            ("Numbers", "Splits that should be alike look alike here.", [_numbers(splits)]),
            ("Sizes", "In pixels.", [_sizes(geometry)]),
            ("Photos", "The crops as they are stored, with label and name.", _photos(splits)),
            ("Suspicious", "Most of these are correct.", [_listed("suspicious", suspicious)]),
            ("Skipped", "", [_listed("skipped", skipped)]),
        ],
    )


def _numbers(splits: Mapping[str, Split]) -> str:
    most = next(iter(splits.values())).max_digits
    lengths = {
        name: np.bincount(split.labels[:, 0], minlength=labels.length_classes(most))
        for name, split in splits.items()
    }
    present = np.flatnonzero(sum(lengths.values()))
    names = [labels.length_name(int(length), most) for length in present]
    lengths = {name: counts[present] for name, counts in lengths.items()}
    charts = [("Lengths", plots.grouped_shares(lengths, names, "digits in the number"))]
    for place in range(1, most + 1):
        digits = {
            name: np.bincount(split.labels[:, place], minlength=labels.DIGIT_CLASSES)[:10]
            for name, split in splits.items()
        }
        if any(counts.any() for counts in digits.values()):
            title = f"Digit {place}"
            charts.append((title, plots.grouped_shares(digits, "0123456789", title.lower())))
    return page.plots(charts)


def _sizes(geometry: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    rows: dict[str, list[list[str]]] = {}
    for split, (boxes, sizes) in geometry.items():
        columns = {
            "photo width": sizes[:, 0],
            "photo height": sizes[:, 1],
            "number width": boxes[:, 2],
            "number height": boxes[:, 3],
            "number width / height": boxes[:, 2] / boxes[:, 3],
            "number height / photo height": boxes[:, 3] / sizes[:, 1],
        }
        for name, values in columns.items():
            shown = [f"{x:,.2f}".removesuffix(".00") for x in np.quantile(values, QUANTILES)]
            rows.setdefault(name, []).append([name, split, *shown])
    head = ("", "split", "least", "1 %", "median", "99 %", "greatest")
    return page.table(head, [row for grouped in rows.values() for row in grouped])


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


def _listed(what: str, rows: list[tuple[str, Any]]) -> str:
    head = f"{len(rows):,} {what} (at most {ROWS_LISTED} are listed)"
    return page.table((head, "why"), rows[:ROWS_LISTED])


def find_suspicious(
    targets: np.ndarray, boxes: np.ndarray, sizes: np.ndarray
) -> dict[str, np.ndarray]:
    """Suspicious rows, int[...] for each reason.

    Args:
      targets: labels int32[N, 1 + D].
      boxes, sizes: float[N, 4] and int[N, 2], see `arrays.load_geometry`.
    """
    right, bottom = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    shape = boxes[:, 2] / boxes[:, 3] / np.maximum(1, targets[:, 0])
    # Skip numbers that run downwards or have more digits than the label: their shape says nothing.
    max_digits = labels.max_digits_of(targets)
    is_row = (targets[:, 0] <= max_digits) & (boxes[:, 2] >= 0.3 * boxes[:, 3])
    is_past = (boxes[:, :2] < 0).any(axis=1) | (right > sizes[:, 0]) | (bottom > sizes[:, 1])
    reasons = {
        "its box reaches past the photo's edge": is_past,
        f"more than {max_digits} digits": targets[:, 0] > max_digits,
        f"lower than {SMALL_PIXELS} pixels": boxes[:, 3] < SMALL_PIXELS,
        "very narrow for so many digits": is_row & (shape < NARROW),
        "very wide for so few digits": is_row & (shape > WIDE),
    }
    return {reason: np.flatnonzero(rows) for reason, rows in reasons.items() if rows.any()}
