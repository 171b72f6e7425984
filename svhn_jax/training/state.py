"""The state of a run, which a checkpoint holds."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from svhn_jax.model.randomness import random_key
from svhn_jax.training import optimizer
from svhn_jax.training.task import Task


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


def create(task: Task, variables: Any = None) -> TrainState:
    """The state before the first step; to be jitted.

    Args:
      variables: of the network, to begin with; None: random ones, a function of the config's seed.
    """
    variables = variables or initial_variables(task)
    config = task.config.optimizer
    ema = variables if config.ema_decay else {}
    opt_state = optimizer.optimizer(config).init(variables["params"])
    return TrainState(jnp.int32(0), variables["params"], variables["batch_stats"], opt_state, ema)


def initial_variables(task: Task) -> dict[str, Any]:
    """Random params and batch_stats, a function of the config's seed."""
    example = jnp.zeros((1, *task.input_shape))
    variables = task.network.init(random_key(task.config.seed), example, False)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}


def abstract_variables(task: Task) -> Any:
    """Shapes and types of the network's variables."""
    return jax.eval_shape(lambda: initial_variables(task))


def average(ema: Any, variables: Any, step: jax.Array, decay: float) -> Any:
    """The running average after `step` updates; {} stays {}.

    Its decay is low at first, so that the initial params are forgotten.
    """
    if not ema:
        return ema
    now = average_decay(step, decay)
    return jax.tree.map(lambda old, new: old * now + new * (1 - now), ema, variables)


def average_decay(step: jax.Array, most: float) -> jax.Array:
    """The decay of the running average after `step` updates."""
    return jnp.minimum(most, (1 + step) / (10 + step))
