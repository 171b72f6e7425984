import numpy as np
import pytest

from svhn_jax.finding import numbers
from svhn_jax.finding.boxes import Digits


def digits(*rows, scores=0.9):
    """Digits (class, left, top) of boxes 10 x 20."""
    boxes = np.array([(left, top, left + 10, top + 20) for _, left, top in rows], float)
    return Digits(
        boxes,
        np.broadcast_to(scores, len(rows)).astype(float),
        np.eye(10)[[row[0] for row in rows]],
    )


def text(number):
    return "".join(map(str, number.digits.classes.argmax(axis=1)))


@pytest.mark.parametrize(
    ("step", "is_stack"), [((12, 0), False), ((26, 5), False), ((12, -8), False), ((1, 26), True)]
)
def test_a_number_is_read_along_its_line(step, is_stack):
    number = [(digit, 50 + n * step[0], 50 + n * step[1]) for n, digit in enumerate((4, 0, 7))]
    [found] = numbers.join(digits(number[2], number[0], number[1]))
    assert (text(found), found.is_stack) == ("407", is_stack)


def test_two_numbers_are_kept_apart_and_the_longer_comes_first():
    first, second = [(1, 0, 0), (2, 12, 0)], [(3, 300, 200), (4, 312, 200), (5, 324, 200)]
    assert [text(found) for found in numbers.join(digits(*first, *second))] == ["345", "12"]


def test_weak_digits_are_left_out_and_without_a_sure_one_there_is_no_number():
    number = [(1, 0, 0), (2, 12, 0), (3, 24, 0)]
    first, *_ = numbers.join(digits(*number, scores=(0.9, 0.9, 0.35)))
    assert text(first) == "12"
    assert numbers.join(digits(*number, scores=0.25)) == []
    assert numbers.join(digits(*number).take(np.zeros(3, bool))) == []


def test_a_digit_off_the_line_or_of_another_size_is_no_part_of_the_number():
    number = digits((1, 0, 0), (2, 12, 0), (3, 24, 0), (4, 36, 14), (5, 36, 0))
    boxes = number.boxes.copy()
    boxes[4] = (36, -10, 56, 40)
    assert text(numbers.join(number._replace(boxes=boxes))[0]) == "123"
