import numpy as np
import pytest

from svhn_jax.finding import boxes
from svhn_jax.finding.boxes import Digits


def digits(*rows, scores):
    """Digits of these boxes; class n of row n."""
    return Digits(np.array(rows, float), np.array(scores, float), np.eye(10)[: len(rows)])


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 0, 10), (0, 0, 0, 10), 0.0),
    ],
)
def test_iou(box, other, expected):
    assert boxes.iou(np.array([box], float), np.array([other], float))[0, 0] == pytest.approx(
        expected
    )


def test_detections_of_one_digit_are_merged_by_score():
    found = digits((0, 0, 10, 20), (1, 0, 11, 20), (30, 0, 40, 20), scores=(0.9, 0.6, 0.7))
    merged = boxes.merge(found)
    np.testing.assert_allclose(merged.boxes, [(0.4, 0, 10.4, 20), (30, 0, 40, 20)])
    np.testing.assert_allclose(merged.scores, [0.9, 0.7])
    np.testing.assert_allclose(merged.classes[0, :2], [0.6, 0.4])


def test_a_part_of_a_digit_is_not_a_digit_of_its_own():
    found = digits((0, 0, 10, 20), (0, 10, 10, 20), scores=(0.9, 0.8))
    assert len(boxes.merge(found).scores) == 1


def test_nothing_merges_to_nothing():
    nothing = Digits(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 10)))
    assert [part.shape for part in boxes.merge(nothing)] == [(0, 4), (0,), (0, 10)]
