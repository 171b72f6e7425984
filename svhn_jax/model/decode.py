"""From the logits of the six heads to numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from svhn_jax.labels import BLANK, MAX_DIGITS
from svhn_jax.model.networks import Logits


class Predictions(NamedTuple):
    """The predicted number of each image, and how probable the network holds it; log-probabilities in nats.

    Attributes:
      labels: int32[B, 1 + MAX_DIGITS], see svhn_jax.labels.
      length_log_p: float32[B], of the predicted length.
      digit_log_p: float32[B, MAX_DIGITS], of each predicted digit; 0 where the digit is absent.
      log_p: float32[B], joint: length plus the digits present. exp(log_p) is the confidence.
    """

    labels: jax.Array
    length_log_p: jax.Array
    digit_log_p: jax.Array
    log_p: jax.Array


def decode(logits: Logits) -> Predictions:
    """The number of greatest joint probability for each image (Goodfellow et al. 2014, section 4).

    That is the length L and digits s with the greatest log P(L) + sum over i <= L of log P(S_i = s_i).
    """
    length_log_p = jax.nn.log_softmax(logits.length)
    # The length head alone says whether a digit is present; a present digit is one of ten.
    digit_log_p = jax.nn.log_softmax(logits.digits[..., :BLANK])
    best = digit_log_p.max(axis=-1)
    total = jnp.cumsum(best, axis=1)
    # Length 0 needs no digit; "more than five" needs the first five.
    digits_of_length = jnp.concatenate([jnp.zeros_like(total[:, :1]), total, total[:, -1:]], axis=1)
    joint = length_log_p + digits_of_length
    length = joint.argmax(axis=1)[:, None]
    is_present = jnp.arange(MAX_DIGITS) < length
    digits = jnp.where(is_present, digit_log_p.argmax(axis=-1), BLANK)
    return Predictions(
        labels=jnp.concatenate([length, digits], axis=1).astype(jnp.int32),
        length_log_p=jnp.take_along_axis(length_log_p, length, axis=1)[:, 0],
        digit_log_p=jnp.where(is_present, best, 0.0),
        log_p=joint.max(axis=1),
    )
