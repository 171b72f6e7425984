"""Which of the numbers found in a photo is reported, as which digits, and how sure that is."""

from collections.abc import Sequence

import numpy as np

from svhn_jax import labels
from svhn_jax.inference.finder import Candidate
from svhn_jax.inference.reading import Reading
from svhn_jax.labels import BLANK
from svhn_jax.model.decode import Predictions

# Chosen on the validation photos and on synthetic ones with stacks (docs/finder.md).
POWER = 0.2  # of a reading's probability, beside the candidate's value
# Weights of (1, log odds of the probability, whether finder and reader agree, log score) for the
# log odds that the reading is right: of a row, read by the reader; of a stack, read by the finder.
ROW, STACK = np.array([-0.87, 0.92, 1.21, 1.09]), np.array([4.2, 0.0, 1.0, 10.73])
# A photo has no number where score x probability^0.5 / (1 + NOTHING x odds of length 0) is less
# than LEAST, which keeps 99 % of the right readings.
NOTHING, LEAST = 2.718, 0.345


def choose(candidates: Sequence[Candidate], read: Predictions[np.ndarray]) -> Reading:
    """The reading of a photo.

    A row of digits is read by the reader of crops; a stack, which it cannot read, by the finder.
    A row in which the reader sees no number is left out.

    Args:
      candidates: numbers in the photo, at least one.
      read: the prediction in the box of each of them.
    """
    numbers = [labels.decode(label) for label in read.labels]
    is_stack = np.array([one.is_stack for one in candidates])
    own_log_p = np.array([np.log(one.digits).sum() for one in candidates])
    log_p = np.where(is_stack, own_log_p, read.log_p.astype(np.float64))
    is_nothing = ~is_stack & (read.labels[:, 0] == 0)
    values = np.log([one.value for one in candidates]) + POWER * log_p
    best = int(np.where(is_nothing, -np.inf, values).argmax())
    chosen, p = candidates[best], float(np.exp(log_p[best]))
    agrees = numbers[best] == chosen.number
    odds = np.log(p + 1e-6) - np.log(1 - p + 1e-6)
    evidence = np.array([1.0, odds, agrees, np.log(chosen.score)])
    confidence = float(1 / (1 + np.exp(-evidence @ (STACK if chosen.is_stack else ROW))))
    nothing_p = 0.0 if chosen.is_stack else float(np.exp(read.nothing_log_p[best]))
    seen = 1 / (1 + NOTHING * nothing_p / (1 - nothing_p + 1e-9))
    if is_nothing[best] or chosen.score * p**0.5 * seen < LEAST:
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
