import numpy as np
import pytest

from svhn_jax.finding import boxes


def rows(*values):
    return np.array(values, float)


def test_iou_by_hand():
    found = boxes.iou(rows([0, 0, 10, 10], [0, 0, 20, 10]), rows([5, 0, 15, 10], [20, 20, 30, 30]))
    # 5 x 10 of 100 + 100 - 50; 10 x 10 of 200 + 100 - 100
    np.testing.assert_allclose(found, [[1 / 3, 0], [1 / 2, 0]])


def test_iou_of_boxes_without_area_is_0():
    np.testing.assert_array_equal(
        boxes.iou(rows([5, 5, 5, 9], [9, 9, 2, 2]), rows([0, 0, 10, 10])), [[0], [0]]
    )


def test_candidates_of_one_number_are_merged_and_their_boxes_averaged_by_score():
    # IoU of the first two: 90 of 110 = 0.82, so both vote. Of the first and the third: 70 of 130 = 0.54, which is the same
    # number but no vote. The fourth is another number.
    candidates = rows([0, 0, 10, 10], [1, 0, 11, 10], [3, 0, 13, 10], [40, 0, 50, 10])
    merged, scores = boxes.merge(candidates, np.array([0.6, 0.2, 0.5, 0.4]), most=5)
    np.testing.assert_allclose(merged, [[0.25, 0, 10.25, 10], [40, 0, 50, 10]])
    np.testing.assert_allclose(scores, [0.6, 0.4])


def test_the_best_come_first_and_no_more_than_asked_for():
    candidates = rows(*([20 * n, 0, 20 * n + 10, 10] for n in range(6)))
    merged, scores = boxes.merge(candidates, np.array([0.1, 0.5, 0.5, 0.9, 0.2, 0.3]), most=3)
    np.testing.assert_array_equal(merged[:, 0], [60, 20, 40])  # of equal scores the first
    np.testing.assert_array_equal(scores, [0.9, 0.5, 0.5])


@pytest.mark.parametrize("count", [0, 1])
def test_few_candidates(count):
    merged, scores = boxes.merge(np.zeros((count, 4)), np.zeros(count), most=5)
    assert merged.shape == (count, 4)
    assert scores.shape == (count,)
