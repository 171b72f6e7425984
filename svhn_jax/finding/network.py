"""The finder's network: for each cell of 4x4 pixels, whether a digit is there, which, its box."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from svhn_jax.config import ModelConfig
from svhn_jax.labels import DIGIT_CLASSES
from svhn_jax.model.layers import batch_norm, conv, space_to_depth
from svhn_jax.model.networks import ResidualBlock

STRIDE = 4  # pixels of a canvas between neighbouring cells
REACH = 6.0  # pixels from a cell's centre to a side where the network gives 0: a usual distance
# Logit of 1 %: few cells hold a digit (Lin et al. 2017, arXiv:1708.02002, section 4.1).
PRIOR = -4.6
CLASSES = DIGIT_CLASSES - 1
CHANNELS = 1 + CLASSES + 4


class Maps(NamedTuple):
    """Of each cell, float32.

    Attributes:
      presence: [B, h, w], logits of a digit.
      classes: [B, h, w, 10], logits.
      boxes: [B, h, w, 4], left, top, right, bottom in pixels of the canvas.
    """

    presence: jax.Array
    classes: jax.Array
    boxes: jax.Array


class FinderNet(nn.Module):
    """A stem on squares of 4x4 pixels, a trunk on squares of 8x8, a linear head for its four cells.

    It is fully convolutional: canvases may have any sides divisible by 8. After the stem, maps are
    small and have many channels: there XLA on CPUs is fastest.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, canvases: jax.Array, is_training: bool, dropout_keys: jax.Array | None = None
    ) -> Maps:
        """float32[B, H, W, 3], as `normalized` gives them, to maps of [B, H / 4, W / 4]."""
        config, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        x = space_to_depth(canvases.astype(dtype), STRIDE)
        for name, channels in (("stem", config.width // 2), ("down", config.width)):
            x = conv(config, channels, 3, name)(x)
            x = nn.relu(batch_norm(is_training, dtype, f"{name}_norm")(x))
            x = space_to_depth(x, 2) if name == "stem" else x
        for block in range(config.blocks[0]):
            x = ResidualBlock(config, config.width, name=f"block{block + 1}")(x, is_training)
        head = nn.Dense(
            4 * CHANNELS, kernel_init=nn.initializers.normal(0.01), bias_init=_bias, name="head"
        )
        batch, height, width, _ = x.shape
        cells = head(x.astype(jnp.float32)).reshape(batch, height, width, 2, 2, CHANNELS)
        cells = cells.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, CHANNELS)
        presence, classes, sides = jnp.split(cells, (1, 1 + CLASSES), axis=-1)
        return Maps(presence[..., 0], classes, _boxes(sides))


def normalized(canvases: jax.Array) -> jax.Array:
    """uint8[B, H, W, 3] to float32; the grey outside the photo becomes 0, as a convolution pads."""
    return (canvases.astype(jnp.float32) - 128) / 64


def cell_centers(height: int, width: int) -> jax.Array:
    """float32[h, w, 2]: (x, y) of each cell's centre in pixels of the canvas."""
    x, y = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
    return (jnp.stack([x, y], axis=-1) + 0.5) * STRIDE


def _boxes(raw: jax.Array) -> jax.Array:
    """Logarithms of distances from cells to boxes (Tian et al. 2019, arXiv:1904.01355)."""
    centers = cell_centers(*raw.shape[1:3])
    distances = REACH * jnp.exp(jnp.clip(raw, -4, 4))
    return jnp.concatenate([centers - distances[..., :2], centers + distances[..., 2:]], axis=-1)


def _bias(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return jnp.zeros((4, CHANNELS), dtype).at[:, 0].set(PRIOR).reshape(shape)
