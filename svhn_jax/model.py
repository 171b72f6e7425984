"""The networks. Each maps float[B, S, S, C] to six heads of float32 logits."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from svhn_jax.config import ModelConfig
from svhn_jax.labels import DIGIT_CLASSES, LENGTH_CLASSES, MAX_DIGITS

AXIS = "data"  # the mesh axis over which batch statistics are those of the global batch


class Logits(NamedTuple):
    """length: float32[B, 7]; digits: float32[B, 5, 11]."""

    length: jax.Array
    digits: jax.Array


def build(config: ModelConfig) -> nn.Module:
    """The network of a configuration. Call: apply(variables, images, is_training, dropout_keys)."""
    return HouseNet(config) if config.architecture == "house" else SeedNet(config)


class HouseNet(nn.Module):
    """A stem that shrinks the map at once, residual stages, and six heads that each look where they need.

    A head pools the last map by attention: its weights are a softmax over positions of what the
    features say plus what the position says. That keeps where a digit stands, for a few hundred
    parameters, where a dense layer over the flattened map needs millions.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, images: jax.Array, is_training: bool, dropout_keys: jax.Array | None = None) -> Logits:
        config, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        x = _space_to_depth(images.astype(dtype), config.patch)
        x = nn.Conv(config.width, (3, 3), use_bias=False, dtype=dtype, name="stem")(x)
        x = nn.relu(_norm(is_training, dtype, "stem_norm")(x))
        for stage, blocks in enumerate(config.blocks):
            if stage:
                x = nn.max_pool(x, (2, 2), (2, 2), padding="SAME")
            for block in range(blocks):
                x = ResidualBlock(config.width * 2**stage, dtype, name=f"stage{stage + 1}_block{block + 1}")(
                    x, is_training
                )
        x = _dropout(x.astype(jnp.float32), config.dropout, dropout_keys)
        pooled = AttentionPool(1 + MAX_DIGITS, name="pool")(x)
        length = nn.Dense(LENGTH_CLASSES, name="length")(pooled[:, 0])
        digits = [nn.Dense(DIGIT_CLASSES, name=f"digit{n}")(pooled[:, n]) for n in range(1, 1 + MAX_DIGITS)]
        return Logits(length, jnp.stack(digits, axis=1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, arXiv:1512.03385)."""

    channels: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
        def conv(kernel: int, name: str) -> nn.Conv:
            return nn.Conv(self.channels, (kernel, kernel), use_bias=False, dtype=self.dtype, name=name)

        y = nn.relu(_norm(is_training, self.dtype, "norm1")(conv(3, "conv1")(x)))
        y = _norm(is_training, self.dtype, "norm2")(conv(3, "conv2")(y))
        if x.shape[-1] != self.channels:
            x = _norm(is_training, self.dtype, "shortcut_norm")(conv(1, "shortcut")(x))
        return nn.relu(x + y)


class AttentionPool(nn.Module):
    """float32[B, H, W, C] to float32[B, heads, C]: for each head a weighted mean over positions."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        positions = x.reshape(batch, height * width, channels)
        table = self.param("position", nn.initializers.zeros, (height * width, self.heads))
        scores = nn.Dense(self.heads, use_bias=False, name="query")(positions) / channels**0.5 + table
        return jnp.einsum("bph,bpc->bhc", jax.nn.softmax(scores, axis=1), positions)


class SeedNet(nn.Module):
    """The seed project's network (kvn219/multi-number-recognition, 2017), plus a length head, which it lacked.

    Four convolutions with batch norm, dropout 0.15, a linear layer of 512, linear heads. Batch norm
    stands before the convolution's bias, as there; it works in training and evaluation alike.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, images: jax.Array, is_training: bool, dropout_keys: jax.Array | None = None) -> Logits:
        dtype = jnp.dtype(self.config.compute_dtype)
        x = images.astype(dtype)
        for index, (channels, kernel, stride) in enumerate(((16, 3, 1), (32, 3, 1), (64, 5, 3), (256, 5, 3)), start=1):
            x = nn.Conv(channels, (kernel, kernel), stride, use_bias=False, dtype=dtype, name=f"conv{index}")(x)
            x = nn.relu(_norm(is_training, dtype, f"norm{index}")(x))
        x = _dropout(x.astype(jnp.float32), self.config.dropout, dropout_keys)
        x = nn.Dense(512, name="dense")(x.reshape(x.shape[0], -1))
        length = nn.Dense(LENGTH_CLASSES, name="length")(x)
        digits = [nn.Dense(DIGIT_CLASSES, name=f"digit{n}")(x) for n in range(1, 1 + MAX_DIGITS)]
        return Logits(length, jnp.stack(digits, axis=1))


def _norm(is_training: bool, dtype: Any, name: str) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not is_training,
        momentum=0.95,
        axis_name=AXIS if is_training else None,
        dtype=dtype,
        name=name,
    )


def _dropout(x: jax.Array, rate: float, keys: jax.Array | None) -> jax.Array:
    """Dropout whose mask is drawn per image, so that it does not depend on how a batch is split."""
    if rate == 0 or keys is None:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1 - rate), 0)


def _space_to_depth(images: jax.Array, patch: int) -> jax.Array:
    """[B, S, S, C] to [B, S/p, S/p, p*p*C]: each square of p x p pixels becomes one position."""
    batch, height, width, channels = images.shape
    rows, columns = -(-height // patch), -(-width // patch)
    low = (rows * patch - height) // 2, (columns * patch - width) // 2
    high = rows * patch - height - low[0], columns * patch - width - low[1]
    images = jnp.pad(images, ((0, 0), (low[0], high[0]), (low[1], high[1]), (0, 0)))
    squares = images.reshape(batch, rows, patch, columns, patch, channels)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, patch * patch * channels)


def count_params(params: Any) -> int:
    """Number of values in a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def count_macs(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image, padding counted."""
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, False), images)
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x, False))(variables, images)
    return _jaxpr_macs(jaxpr.jaxpr)


def _jaxpr_macs(jaxpr: Any) -> int:
    macs = 0
    for equation in jaxpr.eqns:
        output = equation.outvars[0].aval
        if equation.primitive.name == "conv_general_dilated":
            kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
            macs += output.size * (equation.invars[1].aval.size // kernel[numbers.rhs_spec[0]])
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            macs += output.size * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                macs += _jaxpr_macs(inner)
    return macs
