"""Which of the numbers found in a photo is reported, as which digits, and how sure that is."""

from collections.abc import Sequence

import numpy as np

from svhn_jax import labels
from svhn_jax.inference.finder import Candidate
from svhn_jax.inference.reading import Reading
from svhn_jax.labels import BLANK
from svhn_jax.model.decode import Predictions

# Chosen on the validation photos and on synthetic ones with stacks (docs/finder.md).
POWER = 0.5  # of a reading's probability, beside the candidate's value
# Weights of (1, log odds of the probability, whether finder and reader agree, log score) for the
# log odds that the reading is right: of a row, read by the reader; of a stack, read by the finder.
ROW, STACK = np.array([-0.88, 0.91, 1.3, 1.3]), np.array([4.51, 0.0, 0.38, 11.24])
LEAST = 0.07  # probability x score^2 below which a photo has no number: keeps all right readings


def choose(candidates: Sequence[Candidate], read: Predictions[np.ndarray]) -> Reading:
    """The reading of a photo.

    A row of digits is read by the reader of crops; a stack, which it cannot read, by the finder.

    Args:
      candidates: numbers in the photo, at least one.
      read: the prediction in the box of each of them.
    """
    numbers = [labels.decode(label) for label in read.labels]
    is_stack = np.array([one.is_stack for one in candidates])
    own_log_p = np.array([np.log(one.digits).sum() for one in candidates])
    log_p = np.where(is_stack, own_log_p, read.log_p.astype(np.float64))
    values = np.log([one.value for one in candidates])
    best = int((values + POWER * log_p).argmax())
    chosen, p = candidates[best], float(np.exp(log_p[best]))
    agrees = numbers[best] == chosen.number
    odds = np.log(p + 1e-6) - np.log(1 - p + 1e-6)
    evidence = np.array([1.0, odds, agrees, np.log(chosen.score)])
    confidence = float(1 / (1 + np.exp(-evidence @ (STACK if chosen.is_stack else ROW))))
    if p * chosen.score**2 < LEAST:
        return Reading("", 0.0, (), 0.0, None, chosen.score)
    if chosen.is_stack:
        return Reading(
            chosen.number, confidence, chosen.digits, chosen.score, chosen.box, chosen.score
        )
    digits = np.exp(read.digit_log_p[best][read.labels[best][1:] != BLANK].astype(np.float64))
    length_p = float(np.exp(read.length_log_p[best].astype(np.float64)))
    return Reading(
        numbers[best], confidence, tuple(digits.tolist()), length_p, chosen.box, chosen.score
    )
