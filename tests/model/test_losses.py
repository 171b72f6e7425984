import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax.config import LossConfig
from svhn_jax.labels import encode
from svhn_jax.model import losses
from svhn_jax.model.networks import Logits

UNIFORM = Logits(jnp.zeros((2, 7)), jnp.zeros((2, 5, 11)))
LABELS = jnp.stack([jnp.array(encode([4, 2])), jnp.array(encode([1, 2, 3, 4, 5, 6]))])


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_loss_of_uniform_heads_is_log_7_and_log_11_a_digit_present(weight):
    expected = [np.log(7) + (2 + 3 * weight) * np.log(11), np.log(7) + 5 * np.log(11)]
    found = losses.cross_entropy(UNIFORM, LABELS, LossConfig(blank_weight=weight))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_head_whose_digit_is_absent_gets_no_gradient():
    logits = jax.tree.map(lambda x: jax.random.normal(jax.random.key(0), x.shape), UNIFORM)
    grads = jax.grad(
        lambda x: losses.cross_entropy(x, LABELS, LossConfig(label_smoothing=0.1)).sum()
    )(logits)
    assert not grads.digits[0, 2:].any()
    assert grads.digits[0, :2].any(axis=-1).all()
    assert grads.digits[1].any(axis=-1).all()


def test_label_smoothing_spreads_the_target():
    logits = Logits(jnp.array([[2.0, 0, 0, 0, 0, 0, 0]]), jnp.zeros((1, 5, 11)))
    label = jnp.array([encode([])])
    log_p = 2 - np.log(np.exp(2) + 6), -np.log(np.exp(2) + 6)
    expected = -(0.9 + 0.1 / 7) * log_p[0] - 6 * 0.1 / 7 * log_p[1]
    assert float(
        losses.cross_entropy(logits, label, LossConfig(label_smoothing=0.1))[0]
    ) == pytest.approx(expected, rel=1e-6)
