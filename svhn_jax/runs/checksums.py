"""SHA-256 of the arrays of a saved step, computed on the host."""

import hashlib
import json
from typing import Any

import jax
import numpy as np


def of_arrays(tree: Any) -> dict[str, str]:
    """The SHA-256 of each numpy array of a tree, by its path, such as params/stem/kernel."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): _digest(array)
        for path, array in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def of_values(*values: Any) -> str:
    """The SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def verify(tree: Any, abstract: Any, saved: dict[str, str]) -> None:
    """Checks restored arrays against shapes and types, and against the sums that were saved.

    Raises:
      ValueError, KeyError: an array is missing or differs.
    """
    for expected, found in zip(jax.tree.leaves(abstract), jax.tree.leaves(tree), strict=True):
        if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (
            expected.shape,
            expected.dtype,
        ):
            raise ValueError("an array is missing, or of another shape or type")
    for path, digest in of_arrays(tree).items():
        if saved[path] != digest:
            raise ValueError(f"the checksum of {path} is not the one it was saved with")


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.asarray(array).tobytes()).hexdigest()
