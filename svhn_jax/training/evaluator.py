"""Scoring a whole split, in batches of any size."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.sharding import Mesh

from svhn_jax.data.arrays import Split
from svhn_jax.labels import max_digits_of
from svhn_jax.model import metrics
from svhn_jax.model.decode import Predictions
from svhn_jax.training.batches import in_batches, joined
from svhn_jax.training.devices import put, sharded


def score_split(
    eval_step: Callable[..., Any],
    variables: Any,
    split: Split,
    batch_size: int,
    mesh: Mesh,
    advance: Callable[[int], object] = lambda count: None,
) -> tuple[dict[str, float], Predictions[np.ndarray]]:
    """Metrics over every image of a split, and its predictions, as numpy arrays of N rows.

        eval_step = steps.compile_eval_step(config, network, mesh)
        metrics, predictions = score_split(eval_step, variables, split, 256, mesh)

    Args:
      eval_step: from svhn_jax.training.steps.compile_eval_step.
      variables: the model's, on the devices.
      split: at least one image.
      batch_size: rounded up to a multiple of the devices.
      mesh: the devices.
      advance: called with the number of images of each batch once they are scored.
    """
    count = len(split.images)
    batch_size = -(-min(batch_size, count) // mesh.size) * mesh.size
    parts = in_batches(
        lambda *batch: eval_step(variables, *put(batch, sharded(mesh))),
        (split.images, split.labels, np.ones(count, np.int32)),  # the padding's mask is 0
        batch_size,
        advance,
    )
    sums, predictions = zip(*parts, strict=True)
    return metrics.summarize(sums, max_digits_of(split.labels)), joined(predictions, count)
