"""The optimizer and its schedule."""

from typing import Any

import jax
import optax

from svhn_jax.config import OptimizerConfig


def schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Learning rate after `step` completed updates: a linear warm-up, then cosine to zero or constant."""
    warmup = round(total_steps * config.warmup_share)
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(config.learning_rate, max(1, total_steps - warmup))
    else:
        after = optax.constant_schedule(config.learning_rate)
    if not warmup:
        return after
    # The first update already moves: its rate is one warm-up step, not zero.
    rise = optax.linear_schedule(config.learning_rate / warmup, config.learning_rate, max(1, warmup - 1))
    return optax.join_schedules([rise, after], [warmup])


def optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) or SGD, with decay on kernels alone, and optional clipping before it."""
    rate, decay = schedule(config, total_steps), config.weight_decay
    if config.algorithm == "sgd":
        parts = [optax.add_decayed_weights(decay, _is_kernel), optax.sgd(rate, config.beta1)]
    else:
        parts = [optax.adamw(rate, b1=config.beta1, b2=config.beta2, weight_decay=decay, mask=_is_kernel)]
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts) if len(parts) > 1 else parts[0]  # a chain of one would change what checkpoints hold


def _is_kernel(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
