"""Scoring a whole split of crops, in batches of any size."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from svhn_jax.config import Config, LossConfig
from svhn_jax.data.arrays import Split
from svhn_jax.labels import max_digits_of
from svhn_jax.model import decode, inputs, losses, metrics
from svhn_jax.model.decode import Predictions
from svhn_jax.model.layers import AXIS
from svhn_jax.model.networks import Logits
from svhn_jax.training import compilation
from svhn_jax.training.batches import in_batches, joined
from svhn_jax.training.devices import put, replicated, sharded


def averaged_logits(
    variables: Any, images: jax.Array, config: Config, network: nn.Module, views: int
) -> Logits:
    """Logits of crops uint8[b, S, S, 3], averaged over the first `views` of `inputs.VIEWS`.

    That averages log-probabilities.
    """
    read: list[Any] = [
        network.apply(variables, inputs.shifted_window(images, config.image, shift), False)
        for shift in inputs.VIEWS[:views]
    ]
    return Logits(*jax.tree.map(lambda *parts: sum(parts) / len(parts), *read))


def compile_eval_step(
    config: Config, network: nn.Module, mesh: Mesh, views: int = 1
) -> Callable[..., Any]:
    """(variables, images, labels, mask) -> (sums, predictions), on all devices.

    Images uint8[B, S, S, 3], labels int32[B, 1 + D] and mask int32[B], 0 on padding, are split over
    the devices; sums (svhn_jax.model.metrics.count) and predictions come back whole on each. The
    loss is the plain cross-entropy, so that runs of different LossConfig can be compared.

    Args:
      views: see `averaged_logits`.
    """

    def eval_step(
        variables: Any, images: jax.Array, labels: jax.Array, mask: jax.Array
    ) -> tuple[metrics.Sums, Predictions[jax.Array]]:
        logits = averaged_logits(variables, images, config, network, views)
        loss = losses.cross_entropy(logits, labels, LossConfig())
        predictions = decode.decode(logits)
        sums = metrics.count(predictions.labels, labels, loss, mask)
        return jax.lax.psum(sums, AXIS), predictions

    everywhere, split = replicated(mesh), sharded(mesh).spec
    mapped = jax.shard_map(
        eval_step,
        mesh=mesh,
        in_specs=(everywhere.spec, split, split, split),
        out_specs=(everywhere.spec, split),
    )
    options = compilation.compiler_options(mesh)
    return jax.jit(mapped, out_shardings=everywhere, compiler_options=options)


def score_split(
    eval_step: Callable[..., Any],
    variables: Any,
    split: Split,
    batch_size: int,
    mesh: Mesh,
    advance: Callable[[int], object] = lambda count: None,
) -> tuple[dict[str, float], Predictions[np.ndarray]]:
    """Metrics over every image of a split, and its predictions as numpy arrays of N rows.

        eval_step = compile_eval_step(config, network, mesh)
        metrics, predictions = score_split(eval_step, variables, split, 256, mesh)

    Args:
      variables: of the network, on the devices.
      split: at least one image.
      batch_size: rounded up to a multiple of the devices.
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
