"""From the logits of the six heads to numbers."""

import jax
import jax.numpy as jnp

from svhn_jax.labels import BLANK, MAX_DIGITS
from svhn_jax.model.networks import Logits


def decode(logits: Logits) -> tuple[jax.Array, jax.Array]:
    """The numbers of greatest joint probability (Goodfellow et al. 2014, section 4).

    That is the length L and digits s with the greatest log P(L) + sum over i <= L of log P(S_i = s_i).

    Returns:
      labels int32[B, 6], and the joint log-probability float32[B] of each, in nats.
    """
    length_log_p = jax.nn.log_softmax(logits.length)
    # Given that a digit is there it is one of ten: the length alone says whether it is.
    digit_log_p = jax.nn.log_softmax(logits.digits[..., :BLANK])
    best = jnp.cumsum(digit_log_p.max(axis=-1), axis=1)
    # Length 0 needs no digit, and "more than five" needs the first five.
    digits_of_length = jnp.concatenate([jnp.zeros_like(best[:, :1]), best, best[:, -1:]], axis=1)
    joint = length_log_p + digits_of_length
    length = joint.argmax(axis=1)
    is_present = jnp.arange(MAX_DIGITS) < length[:, None]
    digits = jnp.where(is_present, digit_log_p.argmax(axis=-1), BLANK)
    return jnp.concatenate([length[:, None], digits], axis=1).astype(jnp.int32), joint.max(axis=1)
