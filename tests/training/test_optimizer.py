import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from svhn_jax.config import OptimizerConfig
from svhn_jax.training import optimizer


def test_schedule_rises_over_the_warmup_and_falls_to_zero():
    schedule = optimizer.schedule(OptimizerConfig(learning_rate=1.0, warmup_fraction=0.1), 100)
    assert float(schedule(0)) == pytest.approx(0.1)
    assert float(schedule(9)) == pytest.approx(1.0)
    assert float(schedule(10)) == pytest.approx(1.0)
    assert float(schedule(55)) == pytest.approx(0.5, abs=1e-6)
    assert float(schedule(99)) == pytest.approx(0.5 * (1 + np.cos(np.pi * 89 / 90)), abs=1e-6)


def test_weight_decay_shrinks_kernels_alone():
    params = {
        "conv": {"kernel": jnp.ones(2), "bias": jnp.ones(2)},
        "pool": {"position": jnp.ones(2)},
    }
    config = OptimizerConfig(weight_decay=0.5)
    tx = optimizer.optimizer(config)
    zeros = {
        "conv": {"kernel": jnp.zeros(2), "bias": jnp.zeros(2)},
        "pool": {"position": jnp.zeros(2)},
    }
    updates, _ = tx.update(zeros, tx.init(params), params)
    np.testing.assert_allclose(updates["conv"]["kernel"], 0.5, rtol=1e-6)
    assert not updates["conv"]["bias"].any()
    assert not updates["pool"]["position"].any()


def test_gradients_are_clipped_to_the_given_norm_before_adam_sees_them():
    tx = optimizer.optimizer(OptimizerConfig(clip_norm=1.0, beta1=0.0, weight_decay=0.0))
    params = {"kernel": jnp.zeros(2)}
    _, state = tx.update({"kernel": jnp.array([30.0, 40.0])}, tx.init(params), params)
    moments = [leaf for leaf in map(np.asarray, jax.tree.leaves(state)) if leaf.shape == (2,)]
    assert any(np.allclose(moment, [0.6, 0.8], atol=1e-4) for moment in moments)


@pytest.mark.parametrize("algorithm", ["adamw", "sgd"])
def test_times_minus_the_rate_it_is_the_optimizer_of_optax(algorithm):
    config = OptimizerConfig(algorithm=algorithm, weight_decay=0.01, beta1=0.8, beta2=0.9)
    usual = {
        "adamw": optax.adamw(0.1, b1=0.8, b2=0.9, weight_decay=0.01),
        "sgd": optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.1, 0.8)),
    }[algorithm]
    ours, params = optimizer.optimizer(config), {"kernel": jnp.array([1.0, -2.0])}
    state, usual_state = ours.init(params), usual.init(params)
    for grad in ([1.0, 3.0], [-2.0, 0.5]):
        direction, state = ours.update({"kernel": jnp.array(grad)}, state, params)
        updates, usual_state = usual.update({"kernel": jnp.array(grad)}, usual_state, params)
        np.testing.assert_allclose(-0.1 * direction["kernel"], updates["kernel"], rtol=1e-6)


def test_muon_makes_the_update_of_a_convolution_orthogonal_and_adam_takes_the_rest():
    tx = optimizer.optimizer(OptimizerConfig(algorithm="muon", weight_decay=0.0))
    params = {"conv": jnp.zeros((3, 3, 4, 8)), "bias": jnp.zeros(8)}
    grads = jax.tree.map(lambda x: jax.random.normal(jax.random.key(0), x.shape), params)
    updates, _ = tx.update(grads, tx.init(params), params)
    of_matrix = np.linalg.svd(updates["conv"].reshape(36, 8), compute_uv=False)
    np.testing.assert_allclose(of_matrix / of_matrix.mean(), 1, atol=0.4)
    assert np.mean(np.square(updates["conv"])) ** 0.5 == pytest.approx(0.4, rel=0.3)
    assert float(jnp.vdot(updates["conv"], grads["conv"])) > 0
    np.testing.assert_array_equal(jnp.sign(updates["bias"]), jnp.sign(grads["bias"]))
