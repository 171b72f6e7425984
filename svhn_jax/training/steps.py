"""The train step and the eval step: pure functions of one device's part of a batch, and how they are compiled.

`jax.jit(jax.shard_map(...))` runs a step on every device of the mesh. `pmean` and the batch norms' axis name
make loss, gradients and batch statistics those of the global batch.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svhn_jax.config import Config, LossConfig
from svhn_jax.model import augment, decode, inputs, losses, metrics
from svhn_jax.model.layers import AXIS
from svhn_jax.model.networks import Logits
from svhn_jax.model.randomness import random_key
from svhn_jax.training import compilation, optimizer
from svhn_jax.training.state import TrainState, average_decay

REPLICATED, SHARDED = PartitionSpec(), PartitionSpec(AXIS)


def train_step(
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    *,
    config: Config,
    network: nn.Module,
    total_steps: int,
) -> tuple[TrainState, metrics.Sums]:
    """One update. Runs on each device, under `jax.shard_map`.

    Augmentation and dropout of an image depend on (config.seed, state.step, its position in the global batch)
    alone. With skip_nonfinite, a batch whose loss or gradient is not finite changes nothing but `step`, and counts
    no example. The learning rate follows `step`, so that skipped updates do not delay the schedule.

    Args:
      state: the same on every device.
      images: uint8[b, S * S * 3], this device's part of the global batch.
      labels: int32[b, 1 + D].

    Returns:
      The state after the update, and sums over the global batch (see svhn_jax.model.metrics.count), of the logits before it.
    """
    side = round((images.shape[1] // 3) ** 0.5)
    positions = jax.lax.axis_index(AXIS) * len(images) + jnp.arange(len(images))
    step_key = jax.random.fold_in(random_key(config.seed), state.step)
    keys = jax.vmap(lambda position: jax.random.split(jax.random.fold_in(step_key, position)))(
        positions
    )
    inputs = augment.random_window(
        images.reshape(-1, side, side, 3), keys[:, 0], config.image, config.augment
    )

    def loss_fn(params: Any) -> tuple[jax.Array, Any]:
        applied: Any = network.apply(
            {"params": params, "batch_stats": state.batch_stats},
            inputs,
            True,
            keys[:, 1],
            mutable=["batch_stats"],
        )
        logits, updated = applied
        loss = losses.cross_entropy(logits, labels, config.loss)
        return jax.lax.pmean(loss.mean(), AXIS), (logits, loss, updated["batch_stats"])

    (mean_loss, (logits, loss, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
        state.params
    )
    direction, opt_state = optimizer.optimizer(config.optimizer).update(
        grads, state.opt_state, state.params
    )
    rate = optimizer.schedule(config.optimizer, total_steps)(state.step)
    params = optax.apply_updates(state.params, jax.tree.map(lambda x: -rate * x, direction))
    step = state.step + 1
    ema = _average(
        state.ema, {"params": params, "batch_stats": batch_stats}, step, config.optimizer.ema_decay
    )
    updated = TrainState(step, params, batch_stats, opt_state, ema)
    predicted = decode.decode(logits).labels
    mask = jnp.ones_like(loss)
    if not config.optimizer.skip_nonfinite:
        return updated, jax.lax.psum(metrics.count(predicted, labels, loss, mask), AXIS)
    is_finite = jnp.isfinite(mean_loss) & jnp.isfinite(optax.tree.norm(grads))
    kept = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), updated, state)
    sums = jax.lax.psum(metrics.count(predicted, labels, loss, mask * is_finite), AXIS)
    return kept.replace(step=step), sums | {"updates_skipped": 1 - is_finite.astype(jnp.int32)}


def eval_step(
    variables: Any,
    images: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    *,
    config: Config,
    network: nn.Module,
    views: int = 1,
) -> tuple[metrics.Sums, decode.Predictions[jax.Array]]:
    """Sums over the images of the global batch where mask is 1, and the predictions. Runs on each device.

    The loss is the plain cross-entropy, so that runs of different LossConfig can be compared.

    Args:
      variables: of the network; see TrainState.eval_variables.
      images: uint8[b, S, S, 3], this device's part of the batch.
      labels: int32[b, 1 + D].
      mask: int32[b], 0 on padding.
      views: see `averaged_logits`.

    Returns:
      The sums (see svhn_jax.model.metrics.count), and the predictions of this device's part.
    """
    logits = averaged_logits(variables, images, config, network, views)
    loss = losses.cross_entropy(logits, labels, LossConfig())
    predictions = decode.decode(logits)
    return jax.lax.psum(metrics.count(predictions.labels, labels, loss, mask), AXIS), predictions


def averaged_logits(
    variables: Any, images: jax.Array, config: Config, network: nn.Module, views: int
) -> Logits:
    """The logits of crops uint8[b, S, S, 3], averaged over the first `views` of `inputs.VIEWS`.

    That averages log-probabilities.
    """
    read: list[Any] = [
        network.apply(variables, inputs.shifted_window(images, config.image, shift), False)
        for shift in inputs.VIEWS[:views]
    ]
    return Logits(*jax.tree.map(lambda *parts: sum(parts) / len(parts), *read))


def compile_train_step(
    config: Config, network: nn.Module, total_steps: int, mesh: Mesh
) -> Callable[..., Any]:
    """`train_step` on every device of the mesh: (state, images, labels) -> (state, PackedSums). Donates the state.

    images uint8[B, S * S * 3] and labels int32[B, 1 + D] are one global batch, split over the devices.
    """

    def packed_train_step(
        state: TrainState, images: jax.Array, labels: jax.Array
    ) -> tuple[TrainState, PackedSums]:
        updated, sums = train_step(
            state, images, labels, config=config, network=network, total_steps=total_steps
        )
        return updated, PackedSums.of(sums)

    mapped = jax.shard_map(
        packed_train_step,
        mesh=mesh,
        in_specs=(REPLICATED, SHARDED, SHARDED),
        out_specs=(REPLICATED, REPLICATED),
    )
    return jax.jit(mapped, donate_argnums=0, compiler_options=compilation.compiler_options(mesh))


def compile_eval_step(
    config: Config, network: nn.Module, mesh: Mesh, views: int = 1
) -> Callable[..., Any]:
    """`eval_step` on every device of the mesh: (variables, images, labels, mask) -> (sums, predictions).

    The batch is split over the devices; sums and predictions come back whole on every device.
    """
    mapped = jax.shard_map(
        partial(eval_step, config=config, network=network, views=views),
        mesh=mesh,
        in_specs=(REPLICATED, SHARDED, SHARDED, SHARDED),
        out_specs=(REPLICATED, SHARDED),
    )
    options = compilation.compiler_options(mesh)
    return jax.jit(mapped, out_shardings=NamedSharding(mesh, REPLICATED), compiler_options=options)


@struct.dataclass
class PackedSums:
    """The sums of one step as one vector, which one transfer brings to the host: float32, exact for counts up to 2^24."""

    values: jax.Array
    names: tuple[str, ...] = struct.field(pytree_node=False)

    @classmethod
    def of(cls, sums: metrics.Sums) -> "PackedSums":
        return cls(jnp.stack([value.astype(jnp.float32) for value in sums.values()]), tuple(sums))

    def fetch(self) -> dict[str, float]:
        """The sums on the host; waits for the step."""
        return dict(zip(self.names, jax.device_get(self.values).tolist(), strict=True))


class DeferredMetrics:
    """The sums of train steps, fetched one step late: the host never waits for the step it has just dispatched."""

    def __init__(self, first: Mapping[str, float] | None = None):
        """Begins with sums of earlier steps, if there are any."""
        self._rows: list[dict[str, Any]] = [dict(first)] if first else []
        self._newest: PackedSums | None = None

    def add(self, sums: PackedSums) -> None:
        """Keeps the sums of a step that may still run; waits for those of the step before."""
        self._fetch()
        self._newest = sums

    def take(self) -> list[dict[str, Any]]:
        """The sums of each step since the last call; waits for the newest."""
        self._fetch()
        rows, self._rows = self._rows, []
        return rows

    def total(self) -> dict[str, float]:
        """The sums of all steps since the last `take`, which it leaves in place; empty if there are none."""
        self._fetch()
        return metrics.add_up(self._rows)

    def _fetch(self) -> None:
        if self._newest is not None:
            self._rows.append(self._newest.fetch())
            self._newest = None


def _average(ema: Any, values: Any, step: jax.Array, decay: float) -> Any:
    """The running average after `step` updates."""
    if not ema:
        return ema
    decay_now = average_decay(step, decay)
    return jax.tree.map(lambda old, new: old * decay_now + new * (1 - decay_now), ema, values)
