"""Finds photos that are in two splits."""

from pathlib import Path

import numpy as np

from svhn_jax.data import arrays
from svhn_jax.errors import InputError

SAME_PHOTO = 2.0  # mean difference of grey levels, each colour; of two Pillow versions it is less


def shared_photos(
    folder: str | Path, split: str, other_folder: str | Path, other_split: str
) -> list[str]:
    """The names, in the first split, of photos that are also in the other split.

        names = shared_photos("data/full", "test", "data/mine", "train")

    Two rows are the same photo if label, box and photo size are equal and their crops differ by at
    most SAME_PHOTO. Only crops with equal label, box and size are read from disk.

    Raises:
      InputError: as `svhn_jax.data.arrays.load_split`, or max_digits differs.
    """
    ours, others = arrays.load_split(folder, split), arrays.load_split(other_folder, other_split)
    if ours.max_digits != others.max_digits:
        raise InputError(
            f"{folder}: its labels hold at most {ours.max_digits} digits, those of {other_folder} "
            f"{others.max_digits}; prepare both with the same --max-digits"
        )
    our_keys, other_keys = _keys(folder, split), _keys(other_folder, other_split)
    rows_of: dict[int, list[int]] = {}
    means = np.zeros((len(other_keys), 3))
    for row in np.flatnonzero(np.isin(other_keys, our_keys)).tolist():
        rows_of.setdefault(int(other_keys[row]), []).append(row)
        means[row] = others.images[row].mean(axis=(0, 1))
    shared = []
    for row in np.flatnonzero(np.isin(our_keys, other_keys)).tolist():
        image, rows = ours.images[row].astype(np.int16), np.array(rows_of[int(our_keys[row])])
        # Means differ at most as much as images; this leaves few among photos without boxes.
        is_near = (np.abs(means[rows] - image.mean(axis=(0, 1))) <= SAME_PHOTO).all(axis=1)
        differences = np.abs(others.images[rows[is_near]] - image).mean(axis=(1, 2))
        if (differences <= SAME_PHOTO).all(axis=1).any():
            shared.append(ours.names[row].decode())
    return shared


def _keys(folder: str | Path, split: str) -> np.ndarray:
    """uint64[N]: a hash of label, box and photo size."""
    targets, geometry = arrays.load_split(folder, split).labels, arrays.load_geometry(folder, split)
    columns = np.concatenate([one.view(np.uint32) for one in (targets, *geometry)], axis=1)
    factors = np.random.default_rng(0).integers(1, 2**64, columns.shape[1], np.uint64)
    return (columns * (factors | np.uint64(1))).sum(axis=1, dtype=np.uint64)
