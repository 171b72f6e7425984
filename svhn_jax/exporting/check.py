"""Compares the readings of an exported file with those of the network in JAX."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from svhn_jax.errors import InputError
from svhn_jax.exporting import interface
from svhn_jax.exporting.interface import Outputs
from svhn_jax.inference.reader import Reader

TOLERANCE = 1e-4  # of a probability
CROPS = 64
GRAIN = 2  # pixels


def random_crops(size: int) -> np.ndarray:
    """uint8[CROPS, size, size, 3]: coarse noise of several contrasts, always the same."""
    side = -(-size // GRAIN)
    cells = np.random.default_rng(0).integers(0, 256, (CROPS, side, side, 3))
    cells >>= np.arange(CROPS).reshape(-1, 1, 1, 1) % 3
    return cells.repeat(GRAIN, 1).repeat(GRAIN, 2)[:, :size, :size].astype(np.uint8)


def require_same(
    reader: Reader, run: Callable[[np.ndarray], Outputs], crops: np.ndarray
) -> dict[str, Any]:
    """Reads crops by JAX and by an exported file; returns their number and greatest_difference.

    Args:
      run: gives the outputs of the file, see svhn_jax.exporting.interface.
      crops: uint8[N, S, S, 3], N at least 1.

    Raises:
      InputError: a number is read differently, or a probability differs by more than TOLERANCE.
    """
    expected, found = jax.device_get(jax.jit(interface.reads(reader))(crops)), run(crops)
    is_other = (expected["digits"] != found["digits"]).any(axis=1)
    is_other |= expected["length"] != found["length"]
    probabilities = ("confidence", "length_p", "digit_p")
    each = [np.abs(expected[name] - found[name]).max() for name in probabilities]
    difference = float(np.max(each))  # nan if one is
    if is_other.any() or not difference <= TOLERANCE:
        raise InputError(
            f"the file is not written: it reads {is_other.sum()} of {len(crops)} crops differently "
            f"than JAX, and probabilities differ by {difference:.1e}; report this as a bug"
        )
    return {"crops": len(crops), "greatest_difference": difference}
