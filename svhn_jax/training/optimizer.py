"""The optimizer and its schedule."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from svhn_jax.config import OptimizerConfig

MUON_RMS = 0.4  # of an update, times the rate; 0.2 is as AdamW, 0.4 was better in the demo


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
    """AdamW (Loshchilov & Hutter 2019), SGD with momentum or Muon, without the learning rate.

    Muon (Jordan et al. 2024) takes the kernels of convolutions, as matrices of all inputs by
    outputs, and Adam the rest; one rate fits both (Liu et al. 2025, arXiv:2502.16982). Only kernels
    decay, with Muon those of convolutions. The train step multiplies the updates by minus the rate
    of its step.
    """
    decay = optax.add_decayed_weights(config.weight_decay, _is_kernel)
    if config.algorithm == "sgd":
        parts = [decay, optax.trace(config.beta1)]
    elif config.algorithm == "muon":
        parts = [
            optax.contrib.muon(
                -1.0,
                weight_decay=config.weight_decay,
                adam_b1=config.beta1,
                adam_b2=config.beta2,
                muon_weight_dimension_numbers=_muon_axes,
                consistent_rms=MUON_RMS,
            )
        ]
    else:
        parts = [optax.scale_by_adam(config.beta1, config.beta2), decay]
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts)


def _is_kernel(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _muon_axes(params: Any) -> Any:
    axes = optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    return jax.tree.map(lambda x: axes if x.ndim == 4 else None, params)
