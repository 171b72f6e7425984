"""The state of a run, which a checkpoint holds."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from svhn_jax.config import Config
from svhn_jax.model.inputs import input_shape
from svhn_jax.model.randomness import random_key
from svhn_jax.training import optimizer


@struct.dataclass
class TrainState:
    """step counts completed updates. ema: the running average of params and batch_stats; empty if there is none."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any

    def tree(self) -> dict[str, Any]:
        """The state as nested dicts, which is what a checkpoint holds; `TrainState(**tree)` is its inverse."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def eval_variables(self) -> Any:
        """The variables that evaluation uses: the running average if there is one."""
        return self.ema or {"params": self.params, "batch_stats": self.batch_stats}


def create(config: Config, network: nn.Module) -> TrainState:
    """The state before the first step, a function of the config's seed; to be jitted."""
    variables = _init(config, network)
    params, batch_stats = variables["params"], variables["batch_stats"]
    ema = {"params": params, "batch_stats": batch_stats} if config.optimizer.ema_decay else {}
    return TrainState(
        jnp.int32(0), params, batch_stats, optimizer.optimizer(config.optimizer).init(params), ema
    )


def average_decay(step: jax.Array, most: float) -> jax.Array:
    """The decay of the running average after `step` updates: low at first, so that the initial params are forgotten."""
    return jnp.minimum(most, (1 + step) / (10 + step))


def abstract_variables(config: Config, network: nn.Module) -> Any:
    """Shapes and types of the network's variables."""
    return jax.eval_shape(lambda: _init(config, network))


def _init(config: Config, network: nn.Module) -> Any:
    return network.init(random_key(config.seed), jnp.zeros((1, *input_shape(config.image))), False)
