"""The state of a run, and the train step: a pure function of one device's part of a batch.

`jax.jit(jax.shard_map(...))` runs it on every device of the mesh. The task's loss and the batch
norms' axis name make loss, gradients and batch statistics those of the global batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from svhn_jax.model.layers import AXIS
from svhn_jax.model.settings import random_key
from svhn_jax.training import compilation, optimizer
from svhn_jax.training.task import Task

REPLICATED, SHARDED = PartitionSpec(), PartitionSpec(AXIS)


@struct.dataclass
class TrainState:
    """step: completed updates. ema: running average of params and batch_stats; may be {}."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any

    def tree(self) -> dict[str, Any]:
        """The state as nested dicts, as a checkpoint holds it; `TrainState(**tree)` inverts it."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def eval_variables(self) -> Any:
        """The variables that evaluation uses: the running average if there is one."""
        return self.ema or {"params": self.params, "batch_stats": self.batch_stats}


def initial_variables(task: Task) -> dict[str, Any]:
    """Random params and batch_stats, a function of the config's seed; to be jitted."""
    example = jnp.zeros((1, *task.input_shape))
    variables = task.network.init(random_key(task.config.seed), example, False)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}


def create(task: Task, variables: Any = None) -> TrainState:
    """The state before the first step; to be jitted. variables: None for the initial ones."""
    variables = variables or initial_variables(task)
    config = task.config.optimizer
    ema = variables if config.ema_decay else {}
    opt_state = optimizer.optimizer(config).init(variables["params"])
    return TrainState(jnp.int32(0), variables["params"], variables["batch_stats"], opt_state, ema)


def average(ema: Any, variables: Any, step: jax.Array, decay: float) -> Any:
    """The running average after `step` updates; {} stays {}.

    Its decay is low at first, so that the initial params are forgotten.
    """
    if not ema:
        return ema
    now = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old * now + new * (1 - now), ema, variables)


def train_step(
    state: TrainState, images: jax.Array, labels: jax.Array, *, task: Task, total_steps: int
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update. Runs on each device, under `jax.shard_map`.

    Augmentation and dropout of an image depend on (config.seed, state.step, its position in the
    global batch) alone.

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

    grads, (sums, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params)
    direction, opt_state = optimizer.optimizer(config).update(grads, state.opt_state, state.params)
    rate = optimizer.schedule(config, total_steps)(state.step)
    params = optax.apply_updates(state.params, jax.tree.map(lambda x: -rate * x, direction))
    step = state.step + 1
    variables = {"params": params, "batch_stats": batch_stats}
    ema = average(state.ema, variables, step, config.ema_decay)
    return TrainState(step, params, batch_stats, opt_state, ema), jax.lax.psum(sums, AXIS)


def compile_train_step(task: Task, total_steps: int, mesh: Mesh) -> Callable[..., Any]:
    """`train_step` on all devices: (state, images, labels) -> (state, sums). Donates the state.

    images uint8[B, S * S * 3] and labels [B, ...] are one global batch, split over the devices.
    """
    mapped = jax.shard_map(
        lambda *arguments: train_step(*arguments, task=task, total_steps=total_steps),
        mesh=mesh,
        in_specs=(REPLICATED, SHARDED, SHARDED),
        out_specs=(REPLICATED, REPLICATED),
    )
    return jax.jit(mapped, donate_argnums=0, compiler_options=compilation.compiler_options(mesh))
