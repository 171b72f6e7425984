"""From the logits of the heads to numbers."""

from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from svhn_jax.labels import BLANK
from svhn_jax.model.networks import Logits

Array = TypeVar("Array", jax.Array, np.ndarray)


class Predictions(NamedTuple, Generic[Array]):
    """Predicted numbers of a batch and log-probabilities in nats, on a device or on the host.

    labels: int32[B, 1 + D], see svhn_jax.labels.
    length_log_p: float32[B], of the predicted length.
    digit_log_p: float32[B, D], of each predicted digit; 0 where the number has no such digit.
    log_p: float32[B], of the whole number: their sum. Its exponential is the confidence.
    nothing_log_p: float32[B], of length 0: that the crop shows no number.
    """

    labels: Array
    length_log_p: Array
    digit_log_p: Array
    log_p: Array
    nothing_log_p: Array


def decode(logits: Logits) -> Predictions[jax.Array]:
    """The numbers of greatest joint probability (Goodfellow et al. 2014, section 4).

    The length L and digits s with the greatest log P(L) + sum over i <= L of log P(S_i = s_i).
    """
    length_log_p = jax.nn.log_softmax(logits.length)
    # The length head alone decides whether a digit is present; a present digit is one of ten.
    digit_log_p = jax.nn.log_softmax(logits.digits[..., :BLANK])
    best = digit_log_p.max(axis=-1)
    # Length 0 needs no digit, and "more than D" needs the first D.
    sums = jnp.cumsum(best, axis=1)
    digits_of_length = jnp.concatenate([jnp.zeros_like(sums[:, :1]), sums, sums[:, -1:]], axis=1)
    joint = length_log_p + digits_of_length
    length = joint.argmax(axis=1)
    is_present = jnp.arange(best.shape[1]) < length[:, None]
    digits = jnp.where(is_present, digit_log_p.argmax(axis=-1), BLANK)
    return Predictions(
        jnp.concatenate([length[:, None], digits], axis=1).astype(jnp.int32),
        jnp.take_along_axis(length_log_p, length[:, None], axis=1)[:, 0],
        jnp.where(is_present, best, 0),
        joint.max(axis=1),
        length_log_p[:, 0],
    )


def log_p_of(logits: Logits, labels: jax.Array) -> jax.Array:
    """float32[B]: log-probability, in nats, of numbers int32[B, 1 + D], as in `decode`."""
    length_log_p = jax.nn.log_softmax(logits.length)
    digit_log_p = jax.nn.log_softmax(logits.digits[..., :BLANK])
    digits = labels[:, 1:]
    classes = jnp.minimum(digits, BLANK - 1)[..., None]
    of_digits = jnp.take_along_axis(digit_log_p, classes, axis=2)[..., 0]
    of_length = jnp.take_along_axis(length_log_p, labels[:, :1], axis=1)[:, 0]
    return of_length + jnp.where(digits == BLANK, 0, of_digits).sum(axis=1)
