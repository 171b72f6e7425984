"""The optimizer and its schedule."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from svhn_jax.config import OptimizerConfig


def schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Learning rate after `step` updates: a linear warm-up, then cosine to zero or constant."""
    warmup = round(total_steps * config.warmup_fraction)
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(config.learning_rate, max(1, total_steps - warmup))
    else:
        after = optax.constant_schedule(config.learning_rate)
    if not warmup:
        return after
    # The first update has the rate of one warm-up step, not zero, so that no step is lost.
    rise = optax.linear_schedule(
        config.learning_rate / warmup, config.learning_rate, max(1, warmup - 1)
    )
    return optax.join_schedules([rise, after], [warmup])


def host_schedule(config: OptimizerConfig, total_steps: int) -> Callable[[int], float]:
    """The same learning rate as a float on the host, for log lines."""
    rate = schedule(config, total_steps)

    def at(step: int) -> float:
        with jax.transfer_guard("allow"):
            return float(rate(step))

    return at


def optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) or SGD with momentum, without the learning rate.

    Only kernels decay. The train step multiplies the updates by minus the rate of its step.
    """
    decay = optax.add_decayed_weights(config.weight_decay, _is_kernel)
    if config.algorithm == "sgd":
        parts = [decay, optax.trace(config.beta1)]
    else:
        parts = [optax.scale_by_adam(config.beta1, config.beta2), decay]
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts)


def _is_kernel(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
