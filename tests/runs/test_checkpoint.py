import hashlib
import json
import shutil

import jax
import numpy as np
import pytest
from tiny import CONFIG

from svhn_jax.errors import CheckpointError
from svhn_jax.output import Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.training import steps as training_steps
from svhn_jax.training.reader_task import ReaderTask


@pytest.fixture(scope="module")
def fresh():
    return jax.jit(lambda: training_steps.create(ReaderTask(CONFIG)))().tree()


def at_step(fresh, step):
    return jax.tree.map(lambda x: x + step, fresh)


def figures(accuracy, loss=1.0):
    return {"sequence_accuracy": accuracy, "loss": loss}


def abstract(fresh):
    return jax.eval_shape(lambda: fresh)


def write(folder, fresh, steps, **options):
    options = {"keep_newest": 100} | options
    with Checkpoints(str(folder), is_writer=True, **options) as checkpoints:
        for step, validation in steps.items():
            checkpoints.save(step, at_step(fresh, step), validation)
            checkpoints.wait()
        return checkpoints.steps()


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_state_comes_back_to_the_bit(tmp_path, fresh):
    write(tmp_path, fresh, {3: figures(0.5)})
    with Checkpoints(str(tmp_path)) as checkpoints:
        restored = checkpoints.restore(3, abstract(fresh))
        assert jax.tree.structure(restored) == jax.tree.structure(fresh)
        assert_same(restored, at_step(fresh, 3))
        part = checkpoints.restore(3, {"ema": abstract(fresh)["ema"]})
        assert_same(part["ema"], at_step(fresh, 3)["ema"])
        assert_same(checkpoints.restore_weights(3), at_step(fresh, 3)["ema"])
        assert checkpoints.validation(3) == figures(0.5)


def test_weights_without_a_running_average_are_params_and_statistics(tmp_path, fresh):
    plain = fresh | {"ema": {}}
    write(tmp_path, plain, {3: None})
    with Checkpoints(str(tmp_path)) as checkpoints:
        names = ("params", "batch_stats")
        expected = {name: at_step(plain, 3)[name] for name in names}
        assert_same(checkpoints.restore_weights(3), expected)
        remove_state(tmp_path / "3")
        with pytest.raises(CheckpointError, match="/3: "):
            checkpoints.restore_weights(3)


def test_best_is_the_highest_accuracy_then_the_lowest_loss(tmp_path, fresh):
    nan = figures(0.9, float("nan"))
    write(tmp_path, fresh, {1: figures(0.5), 2: figures(0.7, 2.0), 3: figures(0.7, 1.5), 4: nan})
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.best_step() == 3
    write(tmp_path / "other", fresh, {5: None})
    with Checkpoints(str(tmp_path / "other")) as checkpoints:
        assert checkpoints.best_step() is None


def test_the_newest_and_the_best_are_kept(tmp_path, fresh):
    steps = {2: figures(0.5), 4: figures(0.9), 6: figures(0.7), 8: None, 10: figures(0.6)}
    assert write(tmp_path / "a", fresh, steps, keep_newest=2) == [4, 8, 10]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["10", "4", "8"]


def truncate(folder):
    for path in (folder / "state").rglob("*"):
        if path.is_file() and path.stat().st_size > 500:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_state(folder):
    shutil.rmtree(folder / "state")


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def remove_about(folder):
    shutil.rmtree(folder / "about")


def damage_metadata(folder):
    for path in folder.rglob("*METADATA"):
        path.write_text('{"init_timestamp_nsecs": 1, "another": 2}')


def flip_a_bit(folder):
    """Exchanges the SHA-256 of one array, as a flipped bit of the array would."""
    path = folder / "about" / "metadata"
    about = json.loads(path.read_text())
    about["sha256"]["params/length/bias"] = hashlib.sha256(b"another").hexdigest()
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    "damage", [damage_metadata, truncate, remove_state, empty, remove_about, flip_a_bit]
)
def test_a_damaged_newest_step_is_skipped_for_the_one_before_and_kept_aside(
    tmp_path, fresh, damage, capsys
):
    folder = tmp_path / "steps"
    write(folder, fresh, {3: figures(0.5), 5: figures(0.6), 7: figures(0.7)})
    damage(folder / "7")
    with Checkpoints(str(folder), Terminal(), keep_newest=9, is_writer=True) as checkpoints:
        assert_same(checkpoints.restore_newest(abstract(fresh)), at_step(fresh, 5))
        assert f"warning: {folder}/7: this checkpoint cannot be used" in capsys.readouterr().out
        assert [path.name.split("-")[0] for path in (tmp_path / "damaged").iterdir()] == ["7"]
        checkpoints.save(7, at_step(fresh, 7), figures(0.8))  # training comes to step 7 again
        checkpoints.wait()
        assert checkpoints.steps() == [3, 5, 7]
        assert int(checkpoints.restore(7, abstract(fresh))["step"]) == 7


def test_where_no_step_is_whole_nothing_is_moved(tmp_path, fresh):
    folder = tmp_path / "steps"
    write(folder, fresh, {3: figures(0.5), 5: None})
    for step in (3, 5):
        truncate(folder / str(step))
    with (
        Checkpoints(str(folder), is_writer=True) as checkpoints,
        pytest.raises(CheckpointError, match=r"/5: .* so is every step before it"),
    ):
        checkpoints.restore_newest(abstract(fresh))
    assert sorted(path.name for path in folder.iterdir()) == ["3", "5"]


def other_accuracy(folder):
    path = folder / "about" / "metadata"
    path.write_text(path.read_text().replace("0.9", "0.4"))


def exchange_about(folder):
    shutil.copy(folder.parent / "5/about/metadata", folder / "about/metadata")


@pytest.mark.parametrize("damage", [other_accuracy, exchange_about, remove_about])
def test_a_step_with_damaged_metrics_is_not_the_best_and_is_named(tmp_path, fresh, damage, capsys):
    write(tmp_path, fresh, {3: figures(0.9), 5: figures(0.6), 7: figures(0.55)})
    damage(tmp_path / "3")
    with Checkpoints(str(tmp_path), Terminal()) as checkpoints:
        assert checkpoints.best_step() == checkpoints.best_step() == 5
    assert capsys.readouterr().out.count(f"warning: {tmp_path}/3: ") == 1


def test_a_save_holds_the_state_as_it_was_though_its_memory_is_donated(tmp_path, fresh):
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    moving = at_step(fresh, 4)
    with Checkpoints(str(tmp_path), is_writer=True) as checkpoints:
        with jax.transfer_guard("disallow"):  # as in the training loop
            checkpoints.save(4, moving, None)
            for _ in range(5):
                moving = step(moving)
        checkpoints.wait()
        assert_same(checkpoints.restore(4, abstract(fresh)), at_step(fresh, 4))


def test_a_save_that_fails_is_an_error_and_leaves_no_thread(tmp_path, fresh, monkeypatch):
    def no_space(*_, **__):
        raise OSError(28, "no space")

    with Checkpoints(str(tmp_path), is_writer=True) as checkpoints:
        with monkeypatch.context() as patched:
            patched.setattr(checkpoints._manager, "save", no_space)
            checkpoints.save(1, at_step(fresh, 1), None)
            checkpoints._saving.exception()
            with pytest.raises(CheckpointError, match="no space"):
                checkpoints.raise_if_failed()
        checkpoints.save(2, at_step(fresh, 2), None)
    assert checkpoints._thread._shutdown
    assert (tmp_path / "2").exists()
