"""Compares the readings of an exported file with those of the network in JAX."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from svhn_jax.errors import InputError
from svhn_jax.exporting import interface
from svhn_jax.exporting.interface import Outputs
from svhn_jax.inference.reader import Reader
from svhn_jax.training.batches import in_batches, joined

TOLERANCE = 1e-4  # of a probability
TIES = 1e-3  # share of crops with two readings that are equally probable, at most
BATCH_SIZE = 64
RANDOM_CROPS = 64
GRAIN = 2  # pixels


class Comparison(NamedTuple):
    """Two readings of the same crops.

    changed: crops that are read differently. greatest_difference: between two probabilities of the
    same thing, among the other crops; NaN if the file gives one. accuracy, accuracy_jax: shares of
    whole numbers that are right; None for crops without labels.
    """

    crops: int
    changed: int
    greatest_difference: float
    accuracy: float | None
    accuracy_jax: float | None

    def require_sound(self, what: str, precision: str) -> None:
        """Raises InputError if `what`, an exported file, cannot be used.

        float32 must read as JAX does; in other precisions, values must be finite.
        """
        most, ties = (TOLERANCE, TIES) if precision == "float32" else (1.0, 1.0)
        if self.greatest_difference <= most and self.changed <= ties * self.crops:
            return
        raise InputError(
            f"{what}: not written: in {precision} it reads {self.changed} of {self.crops} crops "
            f"differently than JAX, and probabilities differ by {self.greatest_difference:.1e}; "
            "give --precision float32, or if that was given, report this as a bug"
        )

    def __str__(self) -> str:
        text = f"{self.crops - self.changed:,} of {self.crops:,} crops are read as by JAX; "
        text += f"their probabilities differ by {self.greatest_difference:.1e} at most"
        if self.accuracy is not None:
            text += f"; sequence accuracy {self.accuracy:.4f}, by JAX {self.accuracy_jax:.4f}"
        return text


def random_crops(size: int) -> np.ndarray:
    """uint8[RANDOM_CROPS, size, size, 3]: coarse noise of several contrasts, always the same."""
    side = -(-size // GRAIN)
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (RANDOM_CROPS, side, side, 3))
    cells >>= np.arange(RANDOM_CROPS).reshape(-1, 1, 1, 1) % 3
    return cells.repeat(GRAIN, 1).repeat(GRAIN, 2)[:, :size, :size].astype(np.uint8)


def compare(
    reader: Reader,
    run: Callable[[np.ndarray], Outputs],
    crops: np.ndarray,
    labels: np.ndarray | None = None,
) -> Comparison:
    """Reads crops by JAX and by an exported file.

    Args:
      run: gives the outputs of the file, see svhn_jax.exporting.interface.
      crops: uint8[N, S, S, 3], N at least 1.
      labels: of the crops.
    """
    read = jax.jit(interface.reads(reader))
    expected, found = (
        joined(in_batches(one, [crops], BATCH_SIZE), len(crops)) for one in (read, run)
    )
    ours, theirs = (
        np.concatenate([outputs["length"][:, None], outputs["digits"]], axis=1)
        for outputs in (expected, found)
    )
    is_same = (ours == theirs).all(axis=1)
    differences = [
        np.abs(expected[name] - found[name])[is_same].ravel()
        for name in ("confidence", "length_p", "digit_p")
    ]
    is_finite = all(np.isfinite(found[name]).all() for name in interface.OUTPUTS)
    return Comparison(
        len(crops),
        int((~is_same).sum()),
        float(np.concatenate(differences).max(initial=0)) if is_finite else float("nan"),
        None if labels is None else float((theirs == labels).all(axis=1).mean()),
        None if labels is None else float((ours == labels).all(axis=1).mean()),
    )
