import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax import labels
from svhn_jax.labels import encode
from svhn_jax.model import decode, metrics
from svhn_jax.model.networks import Logits


def logits_of(length_p, digit_p):
    digits = np.zeros((1, 5, 11)) + 1e-9
    for position, p in digit_p.items():
        for digit, value in p.items():
            digits[0, position, digit] = value
    return Logits(jnp.log(jnp.array([length_p])), jnp.log(jnp.array(digits)))


def test_an_uncertain_digit_makes_the_shorter_number_more_probable():
    # P("7") = 0.4 x 0.9 = 0.36; P("74") = 0.5 x 0.9 x 0.6 = 0.27: the likeliest length is not the likeliest number.
    logits = logits_of([1e-9, 0.4, 0.5, 0.1, 1e-9, 1e-9, 1e-9], {0: {7: 0.9, 1: 0.1}, 1: {4: 0.6, 9: 0.4}})
    predictions = decode.decode(logits)
    assert predictions.labels[0].tolist() == [1, 7, 10, 10, 10, 10]
    np.testing.assert_allclose(np.exp(predictions.length_log_p), [0.4], rtol=1e-4)
    np.testing.assert_allclose(predictions.digit_log_p, [[np.log(0.9), 0, 0, 0, 0]], atol=1e-4)
    np.testing.assert_allclose(np.exp(predictions.log_p), [0.36], rtol=1e-4)


def test_log_probabilities_of_two_digits_and_of_more_than_five():
    # "74": 0.8 x 0.9 x 0.6 = 0.432. More than five digits: 0.8 x 0.5^5 = 0.025, no digit is absent.
    two = decode.decode(logits_of([0, 0.2, 0.8, 0, 0, 0, 0], {0: {7: 0.9, 1: 0.1}, 1: {4: 0.6, 9: 0.4}}))
    many = decode.decode(logits_of([0, 0, 0, 0, 0, 0.2, 0.8], {n: {n: 0.5, 9: 0.3, 8: 0.2} for n in range(5)}))
    assert two.labels[0].tolist() == [2, 7, 4, 10, 10, 10]
    assert many.labels[0].tolist() == [6, 0, 1, 2, 3, 4]
    np.testing.assert_allclose(np.exp(two.digit_log_p), [[0.9, 0.6, 1, 1, 1]], rtol=1e-4)
    np.testing.assert_allclose(np.exp(many.digit_log_p), [[0.5] * 5], rtol=1e-4)
    for predictions, expected in ((two, 0.432), (many, 0.025)):
        np.testing.assert_allclose(np.exp(predictions.length_log_p), [0.8], rtol=1e-4)
        np.testing.assert_allclose(np.exp(predictions.log_p), [expected], rtol=1e-4)


def test_a_blank_is_never_predicted_as_a_digit():
    predictions = decode.decode(logits_of([0, 1, 0, 0, 0, 0, 0], {0: {10: 0.7, 3: 0.3}}))
    assert predictions.labels[0].tolist() == [1, 3, 10, 10, 10, 10]
    assert float(predictions.log_p[0]) == pytest.approx(0, abs=1e-4)  # of the ten digits, 3 alone is probable


def test_a_prediction_is_the_best_of_all_numbers_by_brute_force():
    keys = jax.random.split(jax.random.key(0), 2)
    logits = Logits(jax.random.normal(keys[0], (40, 7)) * 2, jax.random.normal(keys[1], (40, 5, 11)) * 2)
    predictions = decode.decode(logits)
    parts = predictions.length_log_p + predictions.digit_log_p.sum(axis=1)
    np.testing.assert_allclose(predictions.log_p, parts, rtol=1e-5)
    length_log_p, digit_log_p = (
        jax.nn.log_softmax(logits.length),
        np.asarray(jax.nn.log_softmax(logits.digits[..., :10])),
    )
    for row in range(40):
        best = max(
            float(length_log_p[row, length]) + sum(digit_log_p[row, p, d] for p, d in enumerate(digits))
            for length in (0, 1, 2)
            for digits in itertools.product(range(10), repeat=length)
        )
        longer = [
            float(length_log_p[row, length]) + digit_log_p[row, : min(length, 5), :10].max(axis=1).sum()
            for length in (3, 4, 5, 6)
        ]
        assert float(predictions.log_p[row]) == pytest.approx(max(best, *longer), abs=1e-4)
        labels.decode(predictions.labels[row])  # raises unless length and digits agree


def count(truths, predicted, mask=None):
    loss = jnp.arange(1.0, 1 + len(truths))
    labels = jnp.stack([jnp.array(encode(digits)) for digits in truths])
    numbers = jnp.stack([jnp.array(encode(digits)) for digits in predicted])
    return metrics.count(numbers, labels, loss, jnp.ones(len(truths), jnp.int32) if mask is None else jnp.array(mask))


def test_metrics_are_those_counted_by_hand():
    truths = [[1, 2], [3], [4, 5, 6]]
    predicted = [[1, 2], [3, 0], [4, 5]]
    found = metrics.summarize([jax.device_get(count(truths, predicted))])
    assert found == {
        "examples": 3,
        "loss": 2.0,
        "digit_accuracy": pytest.approx((2 + 1 + 2) / 6),
        "positional_digit_accuracy": pytest.approx((5 + 4 + 4) / 15),
        "length_accuracy": pytest.approx(1 / 3),
        "sequence_accuracy": pytest.approx(1 / 3),
    }


def test_masked_images_do_not_count_even_where_their_loss_is_infinite():
    sums = count([[1], [2]], [[1], [2]], mask=[1, 0])
    assert int(sums["examples"]) == int(sums["digits_right"]) == int(sums["sequences_right"]) == 1
    assert float(sums["loss"]) == 1.0
    infinite = metrics.count(
        jnp.array([encode([1])] * 2), jnp.array([encode([1])] * 2), jnp.array([1.0, jnp.inf]), jnp.array([1, 0])
    )
    assert float(infinite["loss"]) == 1.0


def test_batches_of_any_cut_give_the_same_metrics():
    truths = [[1, 2], [3], [4, 5, 6], []]
    predicted = [[1, 2], [3, 0], [4, 5], []]
    parts = [jax.device_get(count(truths[n : n + 1], predicted[n : n + 1])) for n in range(4)]
    whole = jax.device_get(count(truths, predicted))
    together, apart = metrics.summarize([whole]), metrics.summarize(parts)
    together.pop("loss")  # `count` above numbers the losses anew in each batch
    apart.pop("loss")
    assert together == apart
