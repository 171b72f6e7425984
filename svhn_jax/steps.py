"""The compiled steps: one per-device function each, mapped over the mesh and jitted once.

Under `jax.shard_map` a step sees its device's part of the batch; `pmean` and the batch norms' axis
name make loss, gradients and batch statistics those of the global batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svhn_jax import augment, losses, metrics
from svhn_jax.config import Config, LossConfig
from svhn_jax.model import AXIS
from svhn_jax.state import TrainState

ON_EVERY_DEVICE, ON_ITS_DEVICE = PartitionSpec(), PartitionSpec(AXIS)
A_PART_OF_EACH_BATCH = PartitionSpec(None, AXIS)


class Plan(NamedTuple):
    """Which images steps train on: step number first_step + i those of rows[i % L]. int32[] and int32[L, B]."""

    first_step: jax.Array
    rows: jax.Array


def make_train_step(
    config: Config,
    model: nn.Module,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    *,
    is_streamed: bool = False,
) -> Callable[..., Any]:
    """The jitted train step, or steps: (state, images, labels, plan, count) -> (state, sums).

    Does `count` steps, int32, up to config.steps_per_dispatch, in a loop on the device; without a loop where that is 1.
    The same program whatever the count: a dispatch of fewer steps changes no bit of theirs. plan.rows is split over the devices
    along its second axis, and says which images each step trains on.

    images uint8[N, S * S * 3] and labels int32[N, 6] are the whole set, on every device. Where is_streamed they are
    batches, uint8[steps_per_dispatch, B, S * S * 3] and int32[steps_per_dispatch, B, 6], split over the devices as
    plan.rows is, and a row says which image of its device's own part is meant.

    The state given is donated. sums: of each step, with a first axis of steps_per_dispatch; see svhn_jax.metrics.count,
    over the global batch, before the update. With skip_nonfinite, a batch whose loss or gradient is not finite changes
    nothing but the step, and counts no example.
    """

    def one_step(
        state: TrainState, images: jax.Array, labels: jax.Array, rows: jax.Array
    ) -> tuple[TrainState, metrics.Sums]:
        side = round((images.shape[1] // 3) ** 0.5)
        batch_images, batch_labels = images[rows].reshape(-1, side, side, 3), labels[rows]
        positions = jax.lax.axis_index(AXIS) * len(rows) + jnp.arange(len(rows))
        step_key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        keys = jax.vmap(lambda position: jax.random.split(jax.random.fold_in(step_key, position)))(positions)
        inputs = augment.random_window(batch_images, keys[:, 0], config.image, config.augment)

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            applied: Any = model.apply(
                {"params": params, "batch_stats": state.batch_stats}, inputs, True, keys[:, 1], mutable=["batch_stats"]
            )
            logits, updated = applied
            loss = losses.cross_entropy(logits, batch_labels, config.loss)
            return jax.lax.pmean(loss.mean(), AXIS), (logits, loss, updated["batch_stats"])

        (mean_loss, (logits, loss, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        ema = _average(state.ema, {"params": params, "batch_stats": batch_stats}, step, config.optimizer.ema_decay)
        readings, _ = metrics.read_numbers(logits)
        updated = TrainState(step, params, batch_stats, opt_state, ema)
        counts = jnp.ones_like(loss)
        if config.optimizer.skip_nonfinite:
            is_finite = jnp.isfinite(mean_loss) & jnp.isfinite(optax.tree.norm(grads))
            kept = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), updated, state)
            updated, counts = kept.replace(step=step), counts * is_finite
        return updated, jax.lax.psum(metrics.count(readings, batch_labels, loss, counts), AXIS)

    def per_device(
        state: TrainState, images: jax.Array, labels: jax.Array, plan: Plan, count: jax.Array
    ) -> tuple[TrainState, metrics.Sums]:
        images, labels = images.reshape(-1, images.shape[-1]), labels.reshape(-1, labels.shape[-1])

        def next_step(state: TrainState) -> tuple[TrainState, metrics.Sums]:
            return one_step(state, images, labels, plan.rows[(state.step - plan.first_step) % len(plan.rows)])

        def nth_step(n: jax.Array, carried: tuple[TrainState, metrics.Sums]) -> tuple[TrainState, metrics.Sums]:
            state, sums = next_step(carried[0])
            return state, jax.tree.map(lambda all_of_them, one: all_of_them.at[n].set(one), carried[1], sums)

        if config.steps_per_dispatch == 1:
            state, sums = next_step(state)
            return state, jax.tree.map(lambda one: one[None], sums)
        of_one = jax.eval_shape(next_step, state)[1]
        no_sums = jax.tree.map(lambda one: jnp.zeros((config.steps_per_dispatch, *one.shape), one.dtype), of_one)
        return jax.lax.fori_loop(0, count, nth_step, (state, no_sums))

    data = A_PART_OF_EACH_BATCH if is_streamed else ON_EVERY_DEVICE
    specs_of_plan: Any = {"first_step": ON_EVERY_DEVICE, "rows": A_PART_OF_EACH_BATCH}
    mapped = jax.shard_map(
        per_device,
        mesh=mesh,
        in_specs=(ON_EVERY_DEVICE, data, data, Plan(**specs_of_plan), ON_EVERY_DEVICE),
        out_specs=(ON_EVERY_DEVICE, ON_EVERY_DEVICE),
    )
    return jax.jit(mapped, donate_argnums=0)


class LateSums:
    """The sums of steps, fetched a dispatch late: the host waits for the newest steps only where it takes their sums."""

    def __init__(self) -> None:
        self._rows: list[dict[str, np.ndarray]] = []
        self._newest: tuple[metrics.Sums, int] | None = None

    def add(self, sums: metrics.Sums, steps: int) -> None:
        """Notes the sums of `steps` steps, which may still run: each of [steps or more]. Waits for those noted before."""
        self._fetch()
        self._newest = sums, steps

    def take(self) -> list[dict[str, np.ndarray]]:
        """The sums of each step since the last call; waits for all of them."""
        self._fetch()
        rows, self._rows = self._rows, []
        return rows

    def _fetch(self) -> None:
        if self._newest:
            sums, steps = self._newest
            fetched, self._newest = jax.device_get(sums), None
            self._rows += [{name: values[step] for name, values in fetched.items()} for step in range(steps)]


def make_eval_step(config: Config, model: nn.Module, mesh: Mesh) -> Callable[..., Any]:
    """The jitted eval step: (variables, images, labels, mask) -> (sums, readings).

    images uint8[B, S, S, 3], labels int32[B, 6] and mask int32[B] are split over the devices; B is a
    multiple of their number, mask is 0 on padding. sums and readings are the same on every device. The loss is the plain one, so that runs of different
    LossConfig can be compared. readings int32[B, 6]: the numbers as read.
    """

    def per_device(
        variables: Any, images: jax.Array, labels: jax.Array, mask: jax.Array
    ) -> tuple[metrics.Sums, jax.Array]:
        logits: Any = model.apply(variables, augment.center_window(images, config.image), False)
        loss = losses.cross_entropy(logits, labels, LossConfig())
        readings, _ = metrics.read_numbers(logits)
        return jax.lax.psum(metrics.count(readings, labels, loss, mask), AXIS), readings

    mapped = jax.shard_map(
        per_device,
        mesh=mesh,
        in_specs=(ON_EVERY_DEVICE, ON_ITS_DEVICE, ON_ITS_DEVICE, ON_ITS_DEVICE),
        out_specs=(ON_EVERY_DEVICE, ON_ITS_DEVICE),
    )
    return jax.jit(mapped, out_shardings=NamedSharding(mesh, ON_EVERY_DEVICE))


def _average(ema: Any, values: Any, step: jax.Array, decay: float) -> Any:
    """The running average after `step` updates. Its decay starts low, so that the initial params are soon forgotten."""
    if not ema:
        return ema
    decay_now = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old * decay_now + new * (1 - decay_now), ema, values)
