import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax import labels
from svhn_jax.model import decode
from svhn_jax.model.networks import Logits


def logits_of(length_p, digit_p):
    digits = np.zeros((1, 5, 11)) + 1e-9
    for position, p in digit_p.items():
        for digit, value in p.items():
            digits[0, position, digit] = value
    return Logits(jnp.log(jnp.array([length_p])), jnp.log(jnp.array(digits)))


def test_a_digit_the_heads_doubt_makes_the_shorter_number_more_probable():
    # P("7") = 0.4 x 0.9 = 0.36; P("74") = 0.5 x 0.9 x 0.6 = 0.27: not the likeliest length.
    logits = logits_of(
        [1e-9, 0.4, 0.5, 0.1, 1e-9, 1e-9, 1e-9], {0: {7: 0.9, 1: 0.1}, 1: {4: 0.6, 9: 0.4}}
    )
    predictions = decode.decode(logits)
    assert predictions.labels[0].tolist() == [1, 7, 10, 10, 10, 10]
    assert float(predictions.log_p[0]) == pytest.approx(np.log(0.36), abs=1e-4)
    assert float(predictions.length_log_p[0]) == pytest.approx(np.log(0.4), abs=1e-4)
    np.testing.assert_allclose(predictions.digit_log_p[0], [np.log(0.9), 0, 0, 0, 0], atol=1e-4)


def test_a_blank_is_never_read_as_a_digit():
    logits = logits_of([0, 1, 0, 0, 0, 0, 0], {0: {10: 0.7, 3: 0.3}})
    predictions = decode.decode(logits)
    assert predictions.labels[0].tolist() == [1, 3, 10, 10, 10, 10]
    assert float(predictions.log_p[0]) == pytest.approx(
        0, abs=1e-4
    )  # of the ten digits it can be, 3 alone is probable


def test_eight_digits_by_brute_force_over_every_number():
    """With two digits a position all numbers can be listed: their probabilities sum to 1."""
    rng = np.random.default_rng(0)
    length = rng.normal(size=(20, 10)) * 2
    digits = np.full((20, 8, 11), -60.0)
    pairs = np.array([rng.choice(10, (8, 2), replace=True) for _ in range(20)])
    pairs[..., 1] = (pairs[..., 0] + 1 + pairs[..., 1] % 9) % 10  # another digit than the first
    np.put_along_axis(digits, pairs, rng.normal(size=(20, 8, 2)), axis=2)
    digits[..., 10] = 9  # a blank is no digit, however sure its head
    logits = Logits(jnp.asarray(length, jnp.float32), jnp.asarray(digits, jnp.float32))
    predictions = decode.decode(logits)
    assert predictions.labels.shape == (20, 9)
    for row in range(20):
        texts = [
            "".join(map(str, choice))
            for count in range(9)
            for choice in itertools.product(*pairs[row, :count].tolist())
        ]
        numbers = [labels.encode([int(digit) for digit in text], 8) for text in texts]
        numbers += [
            label + np.eye(1, 9, dtype=np.int32)[0] for label in numbers if label[0] == 8
        ]  # more than eight
        same = Logits(
            *(jnp.repeat(values[row : row + 1], len(numbers), axis=0) for values in logits)
        )
        log_p = np.asarray(decode.log_p_of(same, jnp.array(np.stack(numbers))))
        assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-4)
        assert predictions.labels[row].tolist() == numbers[log_p.argmax()].tolist()
        assert float(predictions.log_p[row]) == pytest.approx(log_p.max(), abs=1e-4)
        labels.decode(predictions.labels[row])  # raises unless length and digits agree


def test_the_log_probability_of_any_number():
    logits = logits_of(
        [0.05, 0.05, 0.8, 0.1, 1e-9, 1e-9, 1e-9], {0: {7: 0.9, 1: 0.1}, 1: {4: 0.75, 9: 0.25}}
    )

    def p(number):
        return float(
            np.exp(decode.log_p_of(logits, jnp.array(labels.encode([*map(int, number)]))[None])[0])
        )

    assert p("74") == pytest.approx(0.8 * 0.9 * 0.75, abs=1e-4)
    assert p("19") == pytest.approx(0.8 * 0.1 * 0.25, abs=1e-4)
    assert p("7") == pytest.approx(0.05 * 0.9, abs=1e-4)
    read = decode.decode(logits)
    np.testing.assert_allclose(decode.log_p_of(logits, read.labels), read.log_p, atol=1e-6)
