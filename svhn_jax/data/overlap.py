"""Finds photos that are in two splits."""

from pathlib import Path

import numpy as np

from svhn_jax.data import arrays
from svhn_jax.errors import InputError

SAME_PHOTO = (
    2.0  # mean difference in grey levels, for each colour; versions of Pillow differ by less
)
ROWS_AT_ONCE = 1024


def shared_photos(
    folder: str | Path, split: str, other_folder: str | Path, other_split: str
) -> list[str]:
    """The names, in the first split, of photos that are also in the other split. Both need the same crop rule and max_digits.

        names = shared_photos("data/full", "test", "data/mine", "train")
        print(len(names), names[:5])

    Two rows are the same photo if label, box and photo size are equal and their crops differ by at most SAME_PHOTO. So a
    photo with another size, label or box is not found. Only crops with equal label, box and size are read from disk.

    Raises:
      InputError: as `svhn_jax.data.arrays.load_split`, or max_digits differs.
    """
    ours, others = arrays.load_split(folder, split), arrays.load_split(other_folder, other_split)
    if ours.max_digits != others.max_digits:
        raise InputError(
            f"{folder}: its labels hold at most {ours.max_digits} digits, those of {other_folder} {others.max_digits}; "
            "prepare both with the same --max-digits"
        )
    our_keys, other_keys = (
        _keys(folder, split, ours.labels),
        _keys(other_folder, other_split, others.labels),
    )
    candidates = np.flatnonzero(np.isin(our_keys, other_keys))
    other_rows = np.flatnonzero(np.isin(other_keys, our_keys))
    other_rows = other_rows[np.argsort(other_keys[other_rows], kind="stable")]
    sorted_keys = other_keys[other_rows]
    first, last = (
        np.searchsorted(sorted_keys, our_keys[candidates], side) for side in ("left", "right")
    )
    our_means, other_means = _means(ours.images, candidates), _means(others.images, other_rows)
    shared = []
    for row, mean, begin, end in zip(candidates, our_means, first, last, strict=True):
        # Means differ at most as much as images; this leaves few candidates among photos without boxes.
        near = begin + np.flatnonzero(
            (np.abs(other_means[begin:end] - mean) <= SAME_PHOTO).all(axis=1)
        )
        image = ours.images[row].astype(np.int16)
        differences = (
            np.abs(others.images[other] - image).mean(axis=(0, 1)) for other in other_rows[near]
        )
        if any((difference <= SAME_PHOTO).all() for difference in differences):
            shared.append(ours.names[row].decode())
    return shared


def _keys(folder: str | Path, split: str, labels: np.ndarray) -> np.ndarray:
    """uint64[N]: a hash of label, box and photo size."""
    boxes, sizes = arrays.load_geometry(folder, split)
    columns = np.concatenate(
        [labels.view(np.uint32), boxes.view(np.uint32), sizes.view(np.uint32)], axis=1
    )
    factors = np.random.default_rng(0).integers(1, 2**64, columns.shape[1], np.uint64) | np.uint64(
        1
    )
    return (columns * factors).sum(axis=1, dtype=np.uint64)


def _means(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float64[len(rows), 3]: the mean of each colour, grey levels."""
    blocks = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    return np.concatenate(
        [images[block].mean(axis=(1, 2)) for block in blocks] or [np.empty((0, 3))]
    )
