"""The label scheme: six heads, the length of the number and its first five digits.

A label is int32[6]: [length, digit 1, ..., digit 5].
    length  0 ... 5, or MANY (6) for a number of more than five digits
    digit   0 ... 9, or BLANK (10) if the number has no such digit
The scheme is that of Goodfellow et al. 2014 (arXiv:1312.6082, section 3.1), whose length head also has the
outcome "more than five".
"""

from collections.abc import Iterable, Sequence

import numpy as np

MAX_DIGITS = 5
HEADS = 1 + MAX_DIGITS
MANY = MAX_DIGITS + 1
LENGTH_CLASSES = MAX_DIGITS + 2
BLANK = 10
DIGIT_CLASSES = 11


def encode(digits: Sequence[int]) -> np.ndarray:
    """The label int32[6] of a number, given as its digits in reading order.

        encode([1, 0, 2])  # [3, 1, 0, 2, 10, 10]

    Args:
      digits: each 0 ... 9, any count. The label keeps the first five.

    Raises:
      ValueError: a digit is not a whole number from 0 to 9.
    """
    label = np.full(HEADS, BLANK, np.int32)
    label[0] = min(len(digits), MANY)
    for position, digit in enumerate(digits):
        if digit not in range(10):
            raise ValueError(f"digit {position + 1} is {digit!r}; digits are 0 to 9")
        if position < MAX_DIGITS:
            label[1 + position] = digit
    return label


def encode_all(numbers: Iterable[Sequence[int]]) -> np.ndarray:
    """int32[N, 6]: the labels of N numbers, see `encode`."""
    return np.array([encode(digits) for digits in numbers], np.int32).reshape(-1, HEADS)


def encode_text(text: str) -> np.ndarray:
    """The label int32[6] of a number as text, such as "1024"; ValueError if the text is not a number."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a house number; write one or more of the digits 0 to 9")
    return encode([int(character) for character in text])


def length_name(length: int) -> str:
    """A length class as text: "0" to "5", and "> 5" for MANY."""
    return f"> {MAX_DIGITS}" if length == MANY else str(length)


def shown(label: Sequence[int] | np.ndarray) -> str:
    """The number as people are shown it: as `decode`, but "nothing" for length 0."""
    return decode(label) or "nothing"


def decode(label: Sequence[int] | np.ndarray) -> str:
    """The number as text; "" for length 0; "12345+" for a number of more than five digits.

        decode([3, 1, 0, 2, 10, 10])  # "102"

    Raises:
      ValueError: the label does not have six values, or its length does not fit its digits.
    """
    values = [int(value) for value in label]
    if len(values) != HEADS or not 0 <= values[0] <= MANY:
        raise ValueError(f"{values} is not a label: it needs a length 0 to {MANY} and {MAX_DIGITS} digits")
    present = min(values[0], MAX_DIGITS)
    digits, rest = values[1 : 1 + present], values[1 + present :]
    if any(digit not in range(10) for digit in digits) or any(digit != BLANK for digit in rest):
        raise ValueError(f"{values} is not a label: length {values[0]} does not fit the digits")
    return "".join(map(str, digits)) + ("+" if values[0] == MANY else "")
