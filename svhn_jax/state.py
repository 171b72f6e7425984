"""What a run carries from step to step, and what a checkpoint holds."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from svhn_jax import optim
from svhn_jax.augment import input_shape
from svhn_jax.config import Config


@struct.dataclass
class TrainState:
    """step counts completed updates. ema: the running average of params and batch_stats; empty if there is none."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any

    def eval_variables(self) -> Any:
        """The variables evaluation uses: the running average where there is one."""
        return self.ema or {"params": self.params, "batch_stats": self.batch_stats}


def create(config: Config, network: nn.Module) -> TrainState:
    """The state before the first step, a function of the config's seed; to be jitted."""
    images = jnp.zeros((1, *input_shape(config.image)))
    variables = network.init(jax.random.key(config.seed), images, False)
    params, batch_stats = variables["params"], variables["batch_stats"]
    ema = {"params": params, "batch_stats": batch_stats} if config.optimizer.ema_decay else {}
    return TrainState(jnp.int32(0), params, batch_stats, optim.optimizer(config.optimizer).init(params), ema)
