"""The networks: float[B, S, S, C] to float32 logits of the length and of D = max_digits digits."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from svhn_jax.config import ModelConfig
from svhn_jax.errors import InputError
from svhn_jax.labels import DIGIT_CLASSES, length_classes
from svhn_jax.model.layers import batch_norm, conv, dropout, max_pool, space_to_depth

# True float32: by default GPUs multiply matrices in TF32, TPUs in bfloat16.
HIGHEST = jax.lax.Precision.HIGHEST


class Logits(NamedTuple):
    """length: float32[B, D + 2]; digits: float32[B, D, 11]."""

    length: jax.Array
    digits: jax.Array


def build(config: ModelConfig) -> nn.Module:
    """The network of a configuration. Call: apply(variables, images, is_training, dropout_keys)."""
    if config.architecture == "finder":
        raise InputError("model.architecture is finder, which reads no crops; see train_finder")
    networks: dict[str, Callable[[ModelConfig], nn.Module]]
    networks = {"resnet": AttentionResNet, "seed": SeedNet, "potterhsu": PotterhsuNet}
    return networks[config.architecture](config)


class AttentionResNet(nn.Module):
    """A stem that reduces the map by its patch, residual stages, and heads with attention pooling.

    Each head gets a weighted mean of the last map over positions. The weights are a softmax of
    scores: a linear function of the features plus a learned value for each position.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, images: jax.Array, is_training: bool, dropout_keys: jax.Array | None = None
    ) -> Logits:
        config, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        x = space_to_depth(images.astype(dtype), config.patch)
        x = conv(config, config.width, 3, "stem")(x)
        x = nn.relu(batch_norm(is_training, dtype, "stem_norm")(x))
        for stage, blocks in enumerate(config.blocks):
            if stage:
                x = max_pool(x, 2, (0, x.shape[1] % 2))
            for block in range(blocks):
                name = f"stage{stage + 1}_block{block + 1}"
                x = ResidualBlock(config, config.width * 2**stage, name=name)(x, is_training)
        x = dropout(x.astype(jnp.float32), config.dropout, dropout_keys)
        heads = 1 + config.max_digits
        pooled = AttentionPool(heads, name="pool")(x)
        return _heads([pooled[:, n] for n in range(heads)])


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, arXiv:1512.03385)."""

    config: ModelConfig
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
        dtype = jnp.dtype(self.config.compute_dtype)

        def conv_norm(x: jax.Array, kernel: int, name: str, norm: str) -> jax.Array:
            x = conv(self.config, self.channels, kernel, name)(x)
            return batch_norm(is_training, dtype, norm)(x)

        y = nn.relu(conv_norm(x, 3, "conv1", "norm1"))
        y = conv_norm(y, 3, "conv2", "norm2")
        if x.shape[-1] != self.channels:
            x = conv_norm(x, 1, "shortcut", "shortcut_norm")
        return nn.relu(x + y)


class AttentionPool(nn.Module):
    """float32[B, H, W, C] to float32[B, heads, C]: for each head a weighted mean over positions."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        positions = x.reshape(batch, height * width, channels)
        table = self.param("position", nn.initializers.zeros, (height * width, self.heads))
        query = nn.Dense(self.heads, use_bias=False, precision=HIGHEST, name="query")
        weights = jax.nn.softmax(query(positions) / channels**0.5 + table, axis=1)
        return jnp.einsum("bph,bpc->bhc", weights, positions, precision=HIGHEST)


class SeedNet(nn.Module):
    """The seed project's network (kvn219/multi-number-recognition, 2017), with a length head added.

    Four convolutions with batch norm, dropout 0.15, a linear layer of 512, linear heads. Batch norm
    comes before the convolution's bias, as there.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, images: jax.Array, is_training: bool, dropout_keys: jax.Array | None = None
    ) -> Logits:
        dtype = jnp.dtype(self.config.compute_dtype)
        x = images.astype(dtype)
        for index, (channels, kernel, stride) in enumerate(
            ((16, 3, 1), (32, 3, 1), (64, 5, 3), (256, 5, 3)), start=1
        ):
            x = conv(self.config, channels, kernel, f"conv{index}", strides=stride)(x)
            x = nn.relu(batch_norm(is_training, dtype, f"norm{index}")(x))
        x = dropout(x.astype(jnp.float32), self.config.dropout, dropout_keys)
        x = nn.Dense(512, precision=HIGHEST, name="dense")(x.reshape(x.shape[0], -1))
        return _heads([x] * (1 + self.config.max_digits))


class PotterhsuNet(nn.Module):
    """The network of potterhsu/SVHNClassifier-PyTorch (2019), for comparisons of equal work.

    Eight times 5x5 convolution, batch norm, ReLU, max-pooling and dropout; two dense layers of
    3,072. 42,868,734 parameters for a window of 54 pixels and 5 digits.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, images: jax.Array, is_training: bool, dropout_keys: jax.Array | None = None
    ) -> Logits:
        config, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        x = images.astype(dtype)
        for index, channels in enumerate((48, 64, 128, 160, 192, 192, 192, 192), start=1):
            x = conv(config, channels, 5, f"conv{index}", use_bias=True)(x)
            x = nn.relu(batch_norm(is_training, dtype, f"norm{index}", momentum=0.9)(x))
            x = max_pool(x, 2 if index % 2 else 1, (1, 1))
            x = dropout(x, config.dropout, dropout_keys, salt=index)
        x = x.reshape(x.shape[0], -1)
        for index in (1, 2):
            x = nn.relu(nn.Dense(3072, dtype=dtype, name=f"dense{index}")(x))
        x = x.astype(jnp.float32)
        return _heads([x] * (1 + config.max_digits))


def head_names(max_digits: int) -> tuple[str, ...]:
    """Names of the heads in params: the length, then each digit."""
    return "length", *(f"digit{n}" for n in range(1, 1 + max_digits))


def _heads(features: list[jax.Array]) -> Logits:
    """The linear heads on features float32[B, F]: those of the length, then of each digit."""
    max_digits = len(features) - 1
    name, *names = head_names(max_digits)
    length = nn.Dense(length_classes(max_digits), precision=HIGHEST, name=name)(features[0])
    digits = [
        nn.Dense(DIGIT_CLASSES, precision=HIGHEST, name=name)(x)
        for name, x in zip(names, features[1:], strict=True)
    ]
    return Logits(length, jnp.stack(digits, axis=1))
