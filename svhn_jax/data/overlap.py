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
    rows_of: dict[bytes, list[int]] = {}
    for row, key in enumerate(_keys(other_folder, other_split)):
        rows_of.setdefault(key, []).append(row)
    shared = []
    for row, key in enumerate(_keys(folder, split)):
        candidates = (others.images[other].astype(np.int16) for other in rows_of.get(key, ()))
        differences = (np.abs(one - ours.images[row]).mean((0, 1)) for one in candidates)
        if any((difference <= SAME_PHOTO).all() for difference in differences):
            shared.append(ours.names[row].decode())
    return shared


def _keys(folder: str | Path, split: str) -> list[bytes]:
    """Label, box and photo size of every row."""
    targets, geometry = arrays.load_split(folder, split).labels, arrays.load_geometry(folder, split)
    columns = np.concatenate([one.view(np.uint32) for one in (targets, *geometry)], axis=1)
    return [row.tobytes() for row in columns]
