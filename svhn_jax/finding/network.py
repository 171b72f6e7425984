"""The finder's network: for each cell of 8x8 pixels, whether a number's centre is there, and how far its sides are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from svhn_jax.config import ModelConfig
from svhn_jax.finding.config import STRIDE, FinderConfig
from svhn_jax.model.layers import batch_norm, conv, max_pool, space_to_depth
from svhn_jax.model.networks import ResidualBlock

REACH = 12.0  # pixels from a cell's centre to a side, where the network gives 0: about the middle of the range, by logarithm
PRIOR = -4.6  # logit of a share of 1 %: few cells hold a number (Lin et al. 2017, arXiv:1708.02002, section 4.1)


class Maps(NamedTuple):
    """logits float32[B, h, w]: of each cell's score; boxes float32[B, h, w, 4]: left, top, right, bottom in pixels of the canvas."""

    logits: jax.Array
    boxes: jax.Array


class FinderNet(nn.Module):
    """A stem on squares of 4x4 pixels, pooling, residual blocks, and a linear head on each cell.

    It is fully convolutional: canvases may have any sides divisible by 8.
    """

    width: int
    blocks: int
    config: ModelConfig

    @nn.compact
    def __call__(self, canvases: jax.Array, is_training: bool) -> Maps:
        """float32[B, H, W, 3], as `normalized` gives them, to maps of [B, H / 8, W / 8]."""
        x = conv(self.config, self.width // 2, 3, "stem")(space_to_depth(canvases, 4))
        x = nn.relu(batch_norm(is_training, jnp.float32, "stem_norm")(x))
        x = max_pool(x, 2, (0, 0))
        for block in range(self.blocks):
            x = ResidualBlock(self.config, self.width, name=f"block{block + 1}")(x, is_training)
        out = nn.Dense(5, bias_init=_head_bias, name="head")(x)
        return Maps(out[..., 0], _to_boxes(out[..., 1:]))


def build(config: FinderConfig) -> FinderNet:
    """The network of a configuration. Call: apply(variables, normalized(canvases), is_training)."""
    return FinderNet(config.width, config.blocks, config.model)


def abstract_variables(config: FinderConfig) -> Any:
    """Shapes and types of the network's variables."""
    return jax.eval_shape(lambda: init_variables(config, jax.random.key(0)))


def init_variables(config: FinderConfig, key: jax.Array) -> Any:
    return build(config).init(key, jnp.zeros((1, STRIDE, STRIDE, 3)), False)


def normalized(canvases: jax.Array) -> jax.Array:
    """uint8[B, H, W, 3] to float32; the grey outside the photo becomes 0, as the zeros around a convolution's input."""
    return (canvases.astype(jnp.float32) - 128) / 64


def cell_centers(height: int, width: int) -> jax.Array:
    """float32[h, w, 2]: (x, y) of each cell's centre in pixels of the canvas, for a map of h x w cells."""
    x, y = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
    return (jnp.stack([x, y], axis=-1) + 0.5) * STRIDE


def _to_boxes(raw: jax.Array) -> jax.Array:
    """float32[B, h, w, 4], logarithms of the distances from a cell's centre to the sides, to boxes (Tian et al. 2019, arXiv:1904.01355)."""
    centers = cell_centers(*raw.shape[1:3])
    distances = REACH * jnp.exp(jnp.clip(raw, -4, 3))
    return jnp.concatenate([centers - distances[..., :2], centers + distances[..., 2:]], axis=-1)


def _head_bias(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return jnp.zeros(shape, dtype).at[0].set(PRIOR)
