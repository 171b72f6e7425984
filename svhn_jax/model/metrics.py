"""Accuracy of predicted numbers.

A batch gives sums over its images; the host adds them and divides once, so the metrics of a split
do not depend on the batch size.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from svhn_jax.labels import BLANK

Sums = dict[str, jax.Array]
NO_SCORE = -1.0


def count(predicted: jax.Array, labels: jax.Array, loss: jax.Array, mask: jax.Array) -> Sums:
    """Sums over the images where mask is 1.

    Args:
      predicted: int32[B, 1 + D], `Predictions.labels`.
      labels: int32[B, 1 + D], the truth.
      loss: float32[B].
      mask: [B], 1 for an image that counts and 0 for padding.
    """
    is_right = predicted == labels
    is_present = labels[:, 1:] != BLANK
    sums = {
        "examples": jnp.ones_like(mask),
        "digits_present": is_present.sum(axis=1),
        "digits_right": (is_right[:, 1:] & is_present).sum(axis=1),
        "positions_right": is_right[:, 1:].sum(axis=1),
        "lengths_right": is_right[:, 0],
        "sequences_right": is_right.all(axis=1),
    }
    mask = mask.astype(jnp.int32)
    counts = {name: (value.astype(jnp.int32) * mask).sum() for name, value in sums.items()}
    return counts | {"loss": jnp.where(mask == 1, loss, 0.0).sum()}


def add_up(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The totals of several batches; empty for none."""
    return {name: sum(float(row[name]) for row in rows) for name in (rows[0] if rows else ())}


def summarize(rows: Sequence[Mapping[str, Any]], max_digits: int) -> dict[str, float]:
    """Metrics from the sums of one or more batches; the loss is nan if they hold no image.

    digit_accuracy counts the digits present (Goodfellow et al. 2014); positional_digit_accuracy
    counts all max_digits positions, blanks too (the seed project), and is nearly always the higher.
    """
    total = add_up(rows)
    if not total["examples"]:
        total["loss"] = math.nan
    examples = max(1.0, total["examples"])
    return {
        "examples": total["examples"],
        "loss": total["loss"] / examples,
        "digit_accuracy": total["digits_right"] / max(1.0, total["digits_present"]),
        "positional_digit_accuracy": total["positions_right"] / (max_digits * examples),
        "length_accuracy": total["lengths_right"] / examples,
        "sequence_accuracy": total["sequences_right"] / examples,
    }


def selection_score(metrics: Mapping[str, Any] | None) -> float:
    """The best step has the greatest; NO_SCORE if it was not validated, or is not finite.

    metrics["selection_score"] if it is there; else sequence accuracy, then lower loss.
    """
    known = metrics or {}
    score: Any = known.get("selection_score", known.get("sequence_accuracy"))
    loss: Any = known.get("loss")
    if score is None or loss is None or not math.isfinite(score + loss):
        return NO_SCORE
    return float(score if "selection_score" in known else score - 1e-9 * min(loss, 100.0))
