"""Layers that several networks use: convolution, batch norm, pooling, dropout."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.random import threefry_2x32

from svhn_jax.config import ModelConfig
from svhn_jax.model import winograd
from svhn_jax.model.normalization import BatchNorm

AXIS = "data"  # the mesh axis over which batch statistics are those of the global batch


def conv(
    config: ModelConfig,
    channels: int,
    kernel: int,
    name: str,
    strides: int = 1,
    use_bias: bool = False,
) -> nn.Conv:
    """A convolution with zero padding; convolution="auto" means Winograd on CPUs."""
    is_on_cpu = config.convolution == "auto" and jax.default_backend() == "cpu"
    is_winograd = strides == 1 and (config.convolution == "winograd" or is_on_cpu)
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides,
        use_bias=use_bias,
        dtype=jnp.dtype(config.compute_dtype),
        conv_general_dilated=winograd.conv_general_dilated if is_winograd else None,
        name=name,
    )


def max_pool(x: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """2x2 max-pooling after a ReLU. Inputs are non-negative, so the padding is zero.

    The maximum of four slices: faster on a CPU than XLA's reduce-window and select-and-scatter.
    Ties split the gradient; ties at zero carry none, because a ReLU precedes.
    """
    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    batch, height, width, channels = x.shape
    if stride == 1:
        x = jnp.maximum(x[:, 1:], x[:, :-1])
        return jnp.maximum(x[:, :, 1:], x[:, :, :-1])
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    rows = jnp.maximum(squares[:, :, 0], squares[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def batch_norm(is_training: bool, dtype: Any, name: str, momentum: float = 0.95) -> nn.Module:
    """Batch norm over the global batch; on CPUs in float32 that of normalization.py."""
    if dtype == jnp.float32 and jax.default_backend() == "cpu":
        return BatchNorm(not is_training, momentum, AXIS, name=name)
    return nn.BatchNorm(
        use_running_average=not is_training,
        momentum=momentum,
        axis_name=AXIS if is_training else None,
        dtype=dtype,
        name=name,
    )


def dropout(x: jax.Array, rate: float, keys: jax.Array | None, salt: int = 0) -> jax.Array:
    """Dropout with a mask for each image, which does not depend on how a batch is split.

    A threefry block has 64 random bits: four values of 16, so the rate is met to 1e-5. Survivors
    are scaled by the rate that is met. (jax.random.bits spends a block on each value.)
    """
    if rate == 0 or keys is None:
        return x
    shape, size = x.shape[1:], math.prod(x.shape[1:])
    limit = min(round(rate * 2**16), 2**16 - 1)
    counters = jnp.arange(2 * -(-size // 4), dtype=jnp.uint32)

    def is_kept(key: jax.Array) -> jax.Array:
        words = threefry_2x32(jax.random.key_data(jax.random.fold_in(key, salt)), counters)
        values = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:size]
        return values.reshape(shape) >= limit

    return jnp.where(jax.vmap(is_kept)(keys), x * (2**16 / (2**16 - limit)), 0)


def space_to_depth(images: jax.Array, patch: int) -> jax.Array:
    """[B, S, S, C] to [B, S/p, S/p, p*p*C]: a square of p x p pixels becomes one position."""
    batch, height, width, channels = images.shape
    rows, columns = -(-height // patch), -(-width // patch)
    low = (rows * patch - height) // 2, (columns * patch - width) // 2
    high = rows * patch - height - low[0], columns * patch - width - low[1]
    images = jnp.pad(images, ((0, 0), (low[0], high[0]), (low[1], high[1]), (0, 0)))
    squares = images.reshape(batch, rows, patch, columns, patch, channels)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, -1)
