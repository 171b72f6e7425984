import jax
import numpy as np
import optax
import pytest
from tiny import CONFIG, mesh_of

from svhn_jax import model, optim, parallel, state
from svhn_jax.checkpoint import Checkpoints
from svhn_jax.errors import InputError


@pytest.fixture(scope="module")
def fresh():
    network = model.build(CONFIG.model)
    return jax.jit(lambda: state.create(CONFIG, network, optim.optimizer(CONFIG.optimizer, 10)))()


def at_step(fresh, step):
    return jax.tree.map(lambda x: x + step, fresh)


def figures(accuracy, loss=1.0):
    return {"sequence_accuracy": accuracy, "loss": loss}


def write(folder, fresh, steps, keep_newest=100):
    with Checkpoints(str(folder), keep_newest=keep_newest, is_writer=True) as checkpoints:
        for step, validation in steps.items():
            checkpoints.save(at_step(fresh, step), validation)
            checkpoints.wait()


def test_a_state_comes_back_to_the_bit_on_any_number_of_devices(tmp_path, fresh):
    write(tmp_path, fresh, {3: figures(0.5)})
    with Checkpoints(str(tmp_path)) as checkpoints:
        abstract = jax.eval_shape(lambda: fresh)
        restored = checkpoints.restore(3, abstract, parallel.replicated(mesh_of(8)))
        assert jax.tree.structure(restored) == jax.tree.structure(fresh)
        for saved, back in zip(jax.tree.leaves(at_step(fresh, 3)), jax.tree.leaves(restored), strict=True):
            assert saved.dtype == back.dtype
            np.testing.assert_array_equal(saved, back)
        variables = checkpoints.restore_eval_variables(3, abstract, parallel.replicated(mesh_of(1)))
        np.testing.assert_array_equal(
            variables["params"]["length"]["bias"], at_step(fresh, 3).ema["params"]["length"]["bias"]
        )


def test_best_is_the_highest_accuracy_then_the_lowest_loss(tmp_path, fresh):
    write(tmp_path, fresh, {1: figures(0.5), 2: figures(0.7, 2.0), 3: figures(0.7, 1.5), 4: figures(0.6), 5: None})
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.steps() == [1, 2, 3, 4, 5]
        assert checkpoints.best_step() == 3


def test_a_step_whose_loss_is_no_number_is_never_the_best(tmp_path, fresh):
    nan = figures(0.9, float("nan"))
    write(tmp_path, fresh, {1: figures(0.5), 2: figures(0.8), 3: nan, 4: nan}, keep_newest=1)
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.steps() == [2, 4]
        assert checkpoints.best_step() == 2


def test_a_state_with_an_array_missing_is_refused(tmp_path, fresh):
    write(tmp_path, fresh, {1: None})
    more = fresh.replace(batch_stats=fresh.batch_stats | {"another": fresh.step})
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(InputError, match="/1: this checkpoint cannot be read"),
    ):
        checkpoints.restore(1, jax.eval_shape(lambda: more), parallel.replicated(mesh_of(1)))


def test_the_newest_and_the_best_are_kept(tmp_path, fresh):
    write(tmp_path, fresh, {1: figures(0.5), 2: figures(0.9), 3: figures(0.7), 4: None, 5: figures(0.6)}, keep_newest=2)
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.steps() == [2, 4, 5]


def test_a_damaged_step_is_named_with_the_remedy(tmp_path, fresh):
    write(tmp_path, fresh, {3: figures(0.5)})
    for path in (tmp_path / "3" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(InputError, match="/3: this checkpoint cannot be read"),
    ):
        checkpoints.restore(3, jax.eval_shape(lambda: fresh), parallel.replicated(mesh_of(1)))


def test_a_state_without_a_running_average_is_evaluated_as_it_is(tmp_path, fresh):
    plain = fresh.replace(ema={}, opt_state=optax.EmptyState())
    write(tmp_path, plain, {2: None})
    with Checkpoints(str(tmp_path)) as checkpoints:
        variables = checkpoints.restore_eval_variables(
            2, jax.eval_shape(lambda: plain), parallel.replicated(mesh_of(1))
        )
        assert set(variables) == {"params", "batch_stats"}
        assert checkpoints.best_step() is None
