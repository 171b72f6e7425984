import jax
import jax.numpy as jnp
import pytest

from svhn_jax.labels import encode
from svhn_jax.model import metrics


def count(truths, predicted, max_digits=5):
    loss = jnp.arange(1.0, 1 + len(truths))
    labels = jnp.stack([jnp.array(encode(digits, max_digits)) for digits in truths])
    numbers = jnp.stack([jnp.array(encode(digits, max_digits)) for digits in predicted])
    return metrics.count(numbers, labels, loss, jnp.ones(len(truths), jnp.int32))


def test_metrics_are_those_counted_by_hand():
    truths = [[1, 2], [3], [4, 5, 6]]
    predicted = [[1, 2], [3, 0], [4, 5]]
    found = metrics.summarize([jax.device_get(count(truths, predicted))], 5)
    assert found == {
        "examples": 3,
        "loss": 2.0,
        "digit_accuracy": pytest.approx((2 + 1 + 2) / 6),
        "positional_digit_accuracy": pytest.approx((5 + 4 + 4) / 15),
        "length_accuracy": pytest.approx(1 / 3),
        "sequence_accuracy": pytest.approx(1 / 3),
    }


def test_positional_accuracy_is_of_as_many_positions_as_a_label_has():
    truths, predicted = [[1, 2, 3, 4, 5, 6, 7], [3]], [[1, 2, 3, 4, 5, 6, 0], [3]]
    found = metrics.summarize([jax.device_get(count(truths, predicted, max_digits=8))], 8)
    assert found["positional_digit_accuracy"] == pytest.approx(15 / 16)
    assert found["digit_accuracy"] == pytest.approx(7 / 8)
    assert (found["length_accuracy"], found["sequence_accuracy"]) == (1.0, 0.5)


def test_masked_images_do_not_count_even_where_their_loss_is_infinite():
    label = jnp.array([encode([1])] * 2)
    sums = metrics.count(label, label, jnp.array([1.0, jnp.inf]), jnp.array([1, 0]))
    assert int(sums["examples"]) == int(sums["digits_right"]) == int(sums["sequences_right"]) == 1
    assert float(sums["loss"]) == 1.0


@pytest.mark.parametrize(
    ("validation", "score"),
    [
        ({"sequence_accuracy": 0.5, "loss": 1.0}, 0.5 - 1e-9),
        ({"selection_score": 0.7, "loss": 1.0}, 0.7),
        ({"sequence_accuracy": None, "loss": 1.0}, metrics.NO_SCORE),
        ({}, metrics.NO_SCORE),
        (None, metrics.NO_SCORE),
    ],
)
def test_the_best_step_has_the_greatest_score(validation, score):
    assert metrics.selection_score(validation) == score
