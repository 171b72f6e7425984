"""Scoring a whole split, in batches of any size."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from svhn_jax.data.arrays import Split
from svhn_jax.labels import BLANK, max_digits_of
from svhn_jax.model import metrics
from svhn_jax.model.decode import Predictions
from svhn_jax.training.devices import put, sharded


def score_split(
    eval_step: Callable[..., Any],
    variables: Any,
    split: Split,
    batch_size: int,
    mesh: Mesh,
    advance: Callable[[int], object] | None = None,
) -> tuple[dict[str, float], Predictions[np.ndarray]]:
    """Metrics over every image of a split, and its predictions, as numpy arrays of N rows.

        eval_step = steps.compile_eval_step(config, network, mesh)
        metrics, predictions = score_split(eval_step, variables, split, 256, mesh)

    The last batch is padded with images that do not count. The next batch is dispatched before the result of the
    last one is fetched.

    Args:
      eval_step: from svhn_jax.training.steps.compile_eval_step.
      variables: the model's, on the devices.
      split: at least one image.
      batch_size: rounded up to a multiple of the devices.
      mesh: the devices.
      advance: called with the number of images of each batch once they are scored.
    """
    batch_size = -(-min(batch_size, len(split.images)) // mesh.size) * mesh.size
    pending: list[Any] = []
    sums: list[Any] = []
    parts: list[Predictions[np.ndarray]] = []

    def collect() -> None:
        counts, predictions = jax.device_get(pending.pop(0))
        sums.append(counts)
        if advance:
            advance(int(counts["examples"]))
        parts.append(predictions)

    for start in range(0, len(split.images), batch_size):
        images, labels = (
            split.images[start : start + batch_size],
            split.labels[start : start + batch_size],
        )
        padding = batch_size - len(images)
        batch = (
            np.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0))),
            np.pad(labels, ((0, padding), (0, 0)), constant_values=BLANK),
            np.pad(np.ones(len(images), np.int32), (0, padding)),
        )
        pending.append(eval_step(variables, *put(batch, sharded(mesh))))
        if len(pending) > 1:
            collect()
    collect()
    columns = (np.concatenate(column)[: len(split.images)] for column in zip(*parts, strict=True))
    return metrics.summarize(sums, max_digits_of(split.labels)), Predictions(*columns)
