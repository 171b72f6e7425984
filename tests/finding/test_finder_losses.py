import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax.finding import losses
from svhn_jax.finding.network import CLASSES, Maps

HEIGHT, WIDTH = 8, 12  # cells: a window of 48 x 32 pixels


def window(*digits):
    """float32[1, 3, 5] of digits (left, top, right, bottom, class)."""
    rows = np.full((1, 3, 5), np.nan, np.float32)
    for n, digit in enumerate(digits):
        rows[0, n] = digit
    return jnp.asarray(rows)


def maps_of(presence, box, digit):
    """Maps whose cells all have this logit and box, and are sure of this class."""
    shape = (1, HEIGHT, WIDTH)
    classes = jnp.full((*shape, CLASSES), -4.0).at[..., digit].set(4.0)
    boxes = jnp.broadcast_to(jnp.array(box, jnp.float32), (*shape, 4))
    return Maps(jnp.full(shape, presence), classes, boxes)


def test_central_cells_are_positive_and_those_around_them_ignored():
    found = losses.targets(window((8, 4, 20, 28, 7)), HEIGHT, WIDTH)  # centre 14, 16; reach 3, 6
    rows, columns = np.nonzero(np.array(found.is_positive[0]))
    assert (rows.tolist(), columns.tolist()) == ([2, 3, 4, 5], [3, 3, 3, 3])
    ignored = np.array(found.is_ignored[0])
    assert not (ignored & np.array(found.is_positive[0])).any()
    assert not ignored[:, [0, 1, 5, 6]].any()


@pytest.mark.parametrize(
    ("digit", "is_ignored"),
    [
        ((10, 10, 14, 18, 1), True),  # too small
        ((4, -4, 24, 36, 1), True),  # too large
        ((-8, 0, 8, 24, 1), True),  # half outside
        ((-20, -30, 30, 40, 1), False),  # far too large: background
        ((100, 100, 110, 120, 1), False),
    ],
)
def test_digits_that_need_not_be_found(digit, is_ignored):
    found = losses.targets(window(digit), HEIGHT, WIDTH)
    assert not found.is_positive.any()
    assert bool(found.is_ignored.any()) == is_ignored


def test_a_cell_between_two_digits_takes_the_nearer():
    found = losses.targets(window((4, 4, 16, 24, 1), (14, 4, 26, 24, 2)), HEIGHT, WIDTH)
    assert np.array(found.digit[0, 3, 2:5]).tolist() == [0, 0, 1]


def test_wrong_classes_and_boxes_cost_more_than_right_ones():
    truth = (8, 4, 20, 28, 7)
    right = losses.loss(maps_of(-8.0, truth[:4], 7), window(truth))
    wrong = losses.loss(maps_of(-8.0, (0, 0, 6, 6), 3), window(truth))
    assert right["cells"] == right["right"] == 4
    assert wrong["right"] == 0
    assert right["box"] == pytest.approx(0, abs=1e-5)
    assert wrong["box"] > 4
    assert right["class"] < 1 < wrong["class"]


def test_a_window_without_a_digit_has_the_loss_of_its_presence_alone():
    found = losses.loss(maps_of(0.0, (0, 0, 9, 9), 0), window())
    assert found["presence"] == pytest.approx(HEIGHT * WIDTH * 0.25 * np.log(2))
    assert all(found[name] == 0 for name in ("class", "box", "cells"))
