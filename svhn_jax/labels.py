"""The label scheme: the length of a number and its first D digits (D = max_digits, default 5).

A label is int32[1 + D]: [length, digit 1, ..., digit D].
    length  0 ... D, or D + 1 for a number of more than D digits
    digit   0 ... 9, or BLANK (10) if the number has no such digit
The scheme is that of Goodfellow et al. 2014 (arXiv:1312.6082, section 3.1) with D = 5. Functions
that read labels take D from their shape.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from svhn_jax.checked import within

DEFAULT_MAX_DIGITS = 5  # one of the 248,823 published numbers has more: six
MOST_DIGITS = 20
BLANK = 10
DIGIT_CLASSES = 11
NOTHING = "nothing"  # how length 0 is shown to people
MaxDigits = Annotated[int, within(1, MOST_DIGITS)]


def length_classes(max_digits: int) -> int:
    """The number of length classes: 0 to max_digits, and more."""
    return max_digits + 2


def max_digits_of(labels: np.ndarray) -> int:
    """The most digits that labels int32[N, 1 + D] can hold: D."""
    return labels.shape[1] - 1


def encode(digits: Sequence[int], max_digits: int = DEFAULT_MAX_DIGITS) -> np.ndarray:
    """The label int32[1 + max_digits] of a number, given as its digits in reading order.

        encode([1, 0, 2])  # [3, 1, 0, 2, 10, 10]

    Raises:
      ValueError: a digit is not a whole number from 0 to 9.
    """
    for position, digit in enumerate(digits, start=1):
        if digit not in range(10):
            raise ValueError(f"digit {position} is {digit!r}; digits are 0 to 9")
    kept = digits[:max_digits]
    blanks = [BLANK] * (max_digits - len(kept))
    return np.array([min(len(digits), max_digits + 1), *kept, *blanks], np.int32)


def length_name(length: int, max_digits: int) -> str:
    """A length class as text: "0" to "5", and "> 5" for more, where max_digits is 5."""
    return f"> {max_digits}" if length == max_digits + 1 else str(length)


def shown(label: Sequence[int] | np.ndarray) -> str:
    """The number as people see it: as `decode`, but NOTHING for length 0."""
    return decode(label) or NOTHING


def decode(label: Sequence[int] | np.ndarray) -> str:
    """The number as text: "" for length 0, "12345+" if it has more digits than the label holds.

        decode([3, 1, 0, 2, 10, 10])  # "102"

    Raises:
      ValueError: the length does not fit the digits.
    """
    values = [int(value) for value in label]
    max_digits, present = len(values) - 1, min(values[0], len(values) - 1)
    digits, rest = values[1 : 1 + present], values[1 + present :]
    is_right = {*digits} <= {*range(10)} and {*rest} <= {BLANK}
    if max_digits < 1 or not 0 <= values[0] <= max_digits + 1 or not is_right:
        raise ValueError(f"{values} is not a label: its length does not fit its digits")
    return "".join(map(str, digits)) + "+" * (values[0] > max_digits)
