"""The training loss: the sum of the heads' cross-entropies, in nats."""

import jax
import jax.numpy as jnp
import optax

from svhn_jax.config import LossConfig
from svhn_jax.labels import BLANK
from svhn_jax.model.networks import Logits


def cross_entropy(logits: Logits, labels: jax.Array, config: LossConfig) -> jax.Array:
    """float32[B]: each image's loss.

    A digit head counts with weight `blank_weight` where the number has no such digit; at 0 it gets
    no gradient there, as in Goodfellow et al. 2014, appendix A.

    Args:
      logits: of the heads.
      labels: int32[B, 1 + D], see svhn_jax.labels.
    """
    length = _head(logits.length, labels[:, 0], config.label_smoothing)
    digits = _head(logits.digits, labels[:, 1:], config.label_smoothing)
    weights = jnp.where(labels[:, 1:] == BLANK, config.blank_weight, 1.0)
    return length + (digits * weights).sum(axis=1)


def _head(logits: jax.Array, targets: jax.Array, smoothing: float) -> jax.Array:
    smoothed = optax.smooth_labels(jax.nn.one_hot(targets, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, smoothed)
