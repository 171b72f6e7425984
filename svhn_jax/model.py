"""The networks. Each maps float[B, S, S, C] to six heads of float32 logits."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.random import threefry_2x32

from svhn_jax import convolution
from svhn_jax.config import ModelConfig
from svhn_jax.labels import DIGIT_CLASSES, LENGTH_CLASSES, MAX_DIGITS

HIGHEST = jax.lax.Precision.HIGHEST  # true float32: by default GPUs multiply matrices in TF32 and TPUs in bfloat16
AXIS = "data"  # the mesh axis over which batch statistics are those of the global batch


class Logits(NamedTuple):
    """length: float32[B, 7]; digits: float32[B, 5, 11]."""

    length: jax.Array
    digits: jax.Array


def build(config: ModelConfig) -> nn.Module:
    """The network of a configuration. Call: apply(variables, images, is_training, dropout_keys)."""
    networks: dict[str, Callable[[ModelConfig], nn.Module]] = {
        "house": HouseNet,
        "seed": SeedNet,
        "potterhsu": PotterhsuNet,
    }
    return networks[config.architecture](config)


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
        x = _conv(config, config.width, 3, "stem")(x)
        x = nn.relu(_norm(is_training, dtype, "stem_norm")(x))
        for stage, blocks in enumerate(config.blocks):
            if stage:
                x = _max_pool(x, 2, (0, x.shape[1] % 2))
            for block in range(blocks):
                name = f"stage{stage + 1}_block{block + 1}"
                x = ResidualBlock(config, config.width * 2**stage, name=name)(x, is_training)
        x = _dropout(x.astype(jnp.float32), config.dropout, dropout_keys)
        pooled = AttentionPool(1 + MAX_DIGITS, name="pool")(x)
        return _heads([pooled[:, n] for n in range(1 + MAX_DIGITS)])


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, arXiv:1512.03385)."""

    config: ModelConfig
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
        dtype = jnp.dtype(self.config.compute_dtype)
        y = nn.relu(_norm(is_training, dtype, "norm1")(_conv(self.config, self.channels, 3, "conv1")(x)))
        y = _norm(is_training, dtype, "norm2")(_conv(self.config, self.channels, 3, "conv2")(y))
        if x.shape[-1] != self.channels:
            x = _norm(is_training, dtype, "shortcut_norm")(_conv(self.config, self.channels, 1, "shortcut")(x))
        return nn.relu(x + y)


class AttentionPool(nn.Module):
    """float32[B, H, W, C] to float32[B, heads, C]: for each head a weighted mean over positions."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        positions = x.reshape(batch, height * width, channels)
        table = self.param("position", nn.initializers.zeros, (height * width, self.heads))
        scores = (
            nn.Dense(self.heads, use_bias=False, precision=HIGHEST, name="query")(positions) / channels**0.5 + table
        )
        return jnp.einsum("bph,bpc->bhc", jax.nn.softmax(scores, axis=1), positions, precision=HIGHEST)


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
            x = _conv(self.config, channels, kernel, f"conv{index}", strides=stride)(x)
            x = nn.relu(_norm(is_training, dtype, f"norm{index}")(x))
        x = _dropout(x.astype(jnp.float32), self.config.dropout, dropout_keys)
        x = nn.Dense(512, precision=HIGHEST, name="dense")(x.reshape(x.shape[0], -1))
        return _heads([x] * (1 + MAX_DIGITS))


class PotterhsuNet(nn.Module):
    """The network of potterhsu/SVHNClassifier-PyTorch (2019), for comparisons of equal work.

    Eight times a 5x5 convolution, batch norm, ReLU, max-pooling and dropout, and two dense layers of
    3,072: 42,868,734 parameters for a window of 54 pixels. Its length head has 7 classes, as ours.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, images: jax.Array, is_training: bool, dropout_keys: jax.Array | None = None) -> Logits:
        config, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        x = images.astype(dtype)
        for index, channels in enumerate((48, 64, 128, 160, 192, 192, 192, 192), start=1):
            x = _conv(config, channels, 5, f"conv{index}", use_bias=True)(x)
            x = nn.relu(_norm(is_training, dtype, f"norm{index}", momentum=0.9)(x))
            x = _max_pool(x, 2 if index % 2 else 1, (1, 1))
            x = _dropout(x, config.dropout, dropout_keys, salt=index)
        x = x.reshape(len(x), -1)
        for index in (1, 2):
            x = nn.relu(nn.Dense(3072, dtype=dtype, name=f"dense{index}")(x))
        x = x.astype(jnp.float32)
        return _heads([x] * (1 + MAX_DIGITS))


def _heads(features: list[jax.Array]) -> Logits:
    """The six linear heads, each on its own features float32[B, F]: those of the length, then of each digit."""
    length = nn.Dense(LENGTH_CLASSES, precision=HIGHEST, name="length")(features[0])
    digits = [
        nn.Dense(DIGIT_CLASSES, precision=HIGHEST, name=f"digit{n}")(features[n]) for n in range(1, 1 + MAX_DIGITS)
    ]
    return Logits(length, jnp.stack(digits, axis=1))


def _conv(
    config: ModelConfig, channels: int, kernel: int, name: str, strides: int = 1, use_bias: bool = False
) -> nn.Conv:
    """A convolution, zeros around it, computed as the configuration says; "auto" asks JAX for the platform."""
    is_winograd = config.convolution == "winograd" or (config.convolution == "auto" and jax.default_backend() == "cpu")
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides,
        use_bias=use_bias,
        dtype=jnp.dtype(config.compute_dtype),
        conv_general_dilated=convolution.conv_general_dilated if is_winograd else None,
        name=name,
    )


def _max_pool(x: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """Max-pooling of 2 x 2 of what a ReLU gave: never negative, so that zeros stand around it.

    The maximum of four slices: on a CPU faster than XLA's reduce-window and select-and-scatter. Ties split the
    gradient; ties at zero carry none, because a ReLU precedes.
    """
    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    batch, height, width, channels = x.shape
    if stride == 1:
        x = jnp.maximum(x[:, 1:], x[:, :-1])
        return jnp.maximum(x[:, :, 1:], x[:, :, :-1])
    squares = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    rows = jnp.maximum(squares[:, :, 0], squares[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def _norm(is_training: bool, dtype: Any, name: str, momentum: float = 0.95) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not is_training,
        momentum=momentum,
        axis_name=AXIS if is_training else None,
        dtype=dtype,
        name=name,
    )


def _dropout(x: jax.Array, rate: float, keys: jax.Array | None, salt: int = 0) -> jax.Array:
    """Dropout whose mask is drawn per image, so that it does not depend on how a batch is split.

    A block of threefry gives 64 random bits, which is four values of 16: the rate is met to 1e-5. (jax.random.bits
    spends a block on each value, whatever its width.)
    """
    if rate == 0 or keys is None:
        return x
    shape, size = x.shape[1:], math.prod(x.shape[1:])
    limit = min(round(rate * 2**16), 2**16 - 1)
    counters = jnp.arange(2 * -(-size // 4), dtype=jnp.uint32)

    def is_kept(key: jax.Array) -> jax.Array:
        words = threefry_2x32(jax.random.key_data(jax.random.fold_in(key, salt)), counters)
        return jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:size].reshape(shape) >= limit

    return jnp.where(jax.vmap(is_kept)(keys), x / (1 - rate), 0)


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
    """Multiply-accumulates of convolutions and matrix products for one image, padding counted.

    Those of the plain convolution, whatever algorithm the network was built to use.
    """
    if config := getattr(model, "config", None):
        model = build(dataclasses.replace(config, convolution="xla"))
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
