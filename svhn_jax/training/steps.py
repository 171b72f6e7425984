"""The train step: a pure function of one device's part of a batch, and how it is compiled.

`jax.jit(jax.shard_map(...))` runs it on every device of the mesh. The task's loss and the batch
norms' axis name make loss, gradients and batch statistics those of the global batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from svhn_jax.model.layers import AXIS
from svhn_jax.model.randomness import random_key
from svhn_jax.training import compilation, optimizer
from svhn_jax.training.state import TrainState, average
from svhn_jax.training.task import Task

REPLICATED, SHARDED = PartitionSpec(), PartitionSpec(AXIS)


def train_step(
    state: TrainState, images: jax.Array, labels: jax.Array, *, task: Task, total_steps: int
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update. Runs on each device, under `jax.shard_map`.

    Augmentation and dropout of an image depend on (config.seed, state.step, its position in the
    global batch) alone. With skip_nonfinite, a batch whose loss or gradient is not finite changes
    nothing but `step`, and its sums are 0. The learning rate follows `step`, so that skipped
    updates do not delay the schedule.

    Args:
      state: the same on every device.
      images: uint8[b, S * S * 3], this device's part of the global batch.
      labels: [b, ...].

    Returns:
      The state after the update, and the task's sums over the global batch, before it.
    """
    config = task.config.optimizer
    side = round((images.shape[1] // 3) ** 0.5)
    positions = jax.lax.axis_index(AXIS) * len(images) + jnp.arange(len(images))
    step_key = jax.random.fold_in(random_key(task.config.seed), state.step)
    keys = jax.vmap(lambda position: jax.random.split(jax.random.fold_in(step_key, position)))(
        positions
    )
    inputs, targets = task.inputs(images.reshape(-1, side, side, 3), labels, keys[:, 0])

    def loss_fn(params: Any) -> tuple[jax.Array, Any]:
        applied: Any = task.network.apply(
            {"params": params, "batch_stats": state.batch_stats},
            inputs,
            True,
            keys[:, 1],
            mutable=["batch_stats"],
        )
        outputs, updated = applied
        loss, sums = task.loss(outputs, targets)
        return loss, (sums, updated.get("batch_stats", {}))

    (loss, (sums, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    direction, opt_state = optimizer.optimizer(config).update(grads, state.opt_state, state.params)
    rate = optimizer.schedule(config, total_steps)(state.step)
    params = optax.apply_updates(state.params, jax.tree.map(lambda x: -rate * x, direction))
    step = state.step + 1
    variables = {"params": params, "batch_stats": batch_stats}
    ema = average(state.ema, variables, step, config.ema_decay)
    updated = TrainState(step, params, batch_stats, opt_state, ema)
    sums = jax.lax.psum(sums, AXIS)
    if not config.skip_nonfinite:
        return updated, sums
    is_finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grads))
    kept = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), updated, state)
    sums = jax.tree.map(lambda x: jnp.where(is_finite, x, 0), sums)
    return kept.replace(step=step), sums | {"updates_skipped": 1 - is_finite.astype(jnp.int32)}


def compile_train_step(task: Task, total_steps: int, mesh: Mesh) -> Callable[..., Any]:
    """`train_step` on all devices: (state, images, labels) -> (state, PackedSums).

    Donates the state. images uint8[B, S * S * 3] and labels [B, ...] are one global batch, split
    over the devices.
    """

    def packed(
        state: TrainState, images: jax.Array, labels: jax.Array
    ) -> tuple[TrainState, PackedSums]:
        updated, sums = train_step(state, images, labels, task=task, total_steps=total_steps)
        return updated, PackedSums.of(sums)

    mapped = jax.shard_map(
        packed,
        mesh=mesh,
        in_specs=(REPLICATED, SHARDED, SHARDED),
        out_specs=(REPLICATED, REPLICATED),
    )
    return jax.jit(mapped, donate_argnums=0, compiler_options=compilation.compiler_options(mesh))


@struct.dataclass
class PackedSums:
    """The sums of one step as one float32 vector: one transfer, exact for counts up to 2^24."""

    values: jax.Array
    names: tuple[str, ...] = struct.field(pytree_node=False)

    @classmethod
    def of(cls, sums: dict[str, jax.Array]) -> "PackedSums":
        return cls(jnp.stack([value.astype(jnp.float32) for value in sums.values()]), tuple(sums))

    def fetch(self) -> dict[str, float]:
        """The sums on the host; waits for the step."""
        return dict(zip(self.names, jax.device_get(self.values).tolist(), strict=True))


class LateSums:
    """The sums of train steps, fetched one step late: the host never waits for the newest step."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._newest: PackedSums | None = None

    def add(self, sums: PackedSums) -> None:
        """Keeps the sums of a step that may still run; waits for the step before it."""
        self.rows()
        self._newest = sums

    def rows(self) -> list[dict[str, float]]:
        """The sums of each step; waits for the newest. The caller may clear the list."""
        if self._newest is not None:
            self._rows.append(self._newest.fetch())
            self._newest = None
        return self._rows
