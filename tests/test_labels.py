"""The label scheme: length, digits, and what is no label."""

import numpy as np
import pytest

from svhn_jax import labels

PAIRS = [  # number, its label, what the label reads as
    ("7", [1, 7, 10, 10, 10, 10], "7"),
    ("1024", [4, 1, 0, 2, 4, 10], "1024"),
    ("54321", [5, 5, 4, 3, 2, 1], "54321"),
    ("123456", [6, 1, 2, 3, 4, 5], "12345+"),
    ("98765432", [6, 9, 8, 7, 6, 5], "98765+"),
    ("7", [1, 7], "7"),
    ("70", [2, 7], "7+"),
    ("7", [1, 7, 10, 10, 10, 10, 10, 10, 10], "7"),
    ("0012345", [7, 0, 0, 1, 2, 3, 4, 5, 10], "0012345"),
    ("12345678", [8, 1, 2, 3, 4, 5, 6, 7, 8], "12345678"),
    ("123456789", [9, 1, 2, 3, 4, 5, 6, 7, 8], "12345678+"),
]


@pytest.mark.parametrize(("number", "label", "read"), PAIRS)
def test_a_number_encodes_to_its_length_and_first_digits_and_decodes_back(number, label, read):
    max_digits = len(label) - 1
    encoded = labels.encode([*map(int, number)], max_digits)
    assert encoded.dtype == np.int32
    assert encoded.tolist() == label
    assert labels.decode(label) == read
    assert labels.decode(np.array(label, np.int64)) == read


def test_no_digits_are_length_zero_and_the_empty_text():
    assert labels.encode([]).tolist() == [0, 10, 10, 10, 10, 10]
    assert labels.decode([0, 10, 10, 10, 10, 10]) == ""
    assert labels.shown([0, 10, 10, 10, 10, 10]) == "nothing"
    assert labels.shown([1, 7, 10, 10, 10, 10]) == "7"


@pytest.mark.parametrize(("max_digits", "names"), [(1, ["0", "1", "> 1"]), (5, [*"012345", "> 5"])])
def test_lengths_have_names(max_digits, names):
    assert [
        labels.length_name(n, max_digits) for n in range(labels.length_classes(max_digits))
    ] == names


@pytest.mark.parametrize("digits", [[10], [-1], [1, 1.5], [1, 2, 3, 4, 5, 11], [float("nan")]])
def test_encode_refuses_what_is_no_digit_and_says_where(digits):
    with pytest.raises(ValueError, match=rf"digit {len(digits)} is .*digits are 0 to 9"):
        labels.encode(digits)


@pytest.mark.parametrize(
    "label",
    [
        [0],
        [7, 1, 2, 3, 4, 5],
        [2, 7, 10, 10, 10, 10],
        [1, 7, 8, 10, 10, 10],
        [0, 7, 10, 10, 10, 10],
        [6, 1, 2, 3, 4, 10],
    ],
)
def test_decode_refuses_a_length_that_does_not_fit_the_digits(label):
    with pytest.raises(ValueError, match="is not a label"):
        labels.decode(label)
