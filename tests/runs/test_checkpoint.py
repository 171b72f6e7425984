import dataclasses
import errno
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from etils import epath
from tiny import CONFIG

from svhn_jax.errors import CheckpointError, InputError, TryAgainError
from svhn_jax.inference.weights import load_variables
from svhn_jax.model import networks
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.training import state as states


@pytest.fixture(scope="module")
def fresh():
    network = networks.build(CONFIG.model)
    return jax.jit(lambda: states.create(CONFIG, network))().tree()


def at_step(fresh, step):
    return jax.tree.map(lambda x: x + step, fresh)


def figures(accuracy, loss=1.0):
    return {"sequence_accuracy": accuracy, "loss": loss}


def write(folder, fresh, steps, keep_newest=100):
    with Checkpoints(str(folder), keep_newest=keep_newest, is_writer=True) as checkpoints:
        for step, validation in steps.items():
            checkpoints.save(step, at_step(fresh, step), validation)
            checkpoints.wait()


def test_a_state_comes_back_to_the_bit(tmp_path, fresh):
    write(tmp_path, fresh, {3: figures(0.5)})
    with Checkpoints(str(tmp_path)) as checkpoints:
        abstract = jax.eval_shape(lambda: fresh)
        restored = checkpoints.restore(3, abstract)
        assert jax.tree.structure(restored) == jax.tree.structure(fresh)
        for saved, back in zip(
            jax.tree.leaves(at_step(fresh, 3)), jax.tree.leaves(restored), strict=True
        ):
            assert saved.dtype == back.dtype
            np.testing.assert_array_equal(saved, back)
        variables = checkpoints.restore(3, {"ema": abstract["ema"]}, is_partial=True)["ema"]
        np.testing.assert_array_equal(
            variables["params"]["length"]["bias"],
            at_step(fresh, 3)["ema"]["params"]["length"]["bias"],
        )


def test_best_is_the_highest_accuracy_then_the_lowest_loss(tmp_path, fresh):
    write(
        tmp_path,
        fresh,
        {1: figures(0.5), 2: figures(0.7, 2.0), 3: figures(0.7, 1.5), 4: figures(0.6), 5: None},
    )
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
    more = fresh | {"batch_stats": fresh["batch_stats"] | {"another": fresh["step"]}}
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(InputError, match="/1: this checkpoint cannot be used"),
    ):
        checkpoints.restore(1, jax.eval_shape(lambda: more))


def test_the_newest_and_the_best_are_kept(tmp_path, fresh):
    write(
        tmp_path,
        fresh,
        {1: figures(0.5), 2: figures(0.9), 3: figures(0.7), 4: None, 5: figures(0.6)},
        keep_newest=2,
    )
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.steps() == [2, 4, 5]


def test_a_damaged_step_is_named_with_the_remedy(tmp_path, fresh):
    write(tmp_path, fresh, {3: figures(0.5)})
    for path in (tmp_path / "3" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(InputError, match="/3: this checkpoint cannot be used"),
    ):
        checkpoints.restore(3, jax.eval_shape(lambda: fresh))


def test_a_state_without_a_running_average_is_evaluated_as_it_is(tmp_path, fresh):
    plain = states.TrainState(**fresh | {"ema": {}, "opt_state": optax.EmptyState()})
    write(tmp_path, plain.tree(), {2: None})
    with Checkpoints(str(tmp_path)) as checkpoints:
        config = dataclasses.replace(
            CONFIG, optimizer=dataclasses.replace(CONFIG.optimizer, ema_decay=0.0)
        )
        variables = load_variables(checkpoints, 2, config, networks.build(config.model))
        jax.tree.map(np.testing.assert_array_equal, variables, at_step(plain.eval_variables(), 2))
        assert checkpoints.best_step() is None


def array_files(folder):
    return [
        path
        for path in (folder / "state").rglob("*")
        if path.is_file() and path.stat().st_size > 500
    ]


def damage_truncate(folder):
    for path in array_files(folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_remove(folder):
    shutil.rmtree(folder / "state")


def damage_empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def damage_checksums(folder):
    shutil.rmtree(folder / "checksums")


def flip_a_value(folder):
    """What one flipped bit of an array comes to: the array is whole, and wrong."""
    options = ocp.args.PyTreeRestore()
    with ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(state=ocp.PyTreeCheckpointHandler())
    ) as checkpointer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a restore onto the devices it was saved from
            state = checkpointer.restore(folder, ocp.args.Composite(state=options))["state"]
        bits = np.array(state["params"]["length"]["bias"]).view(np.uint32)
        bits[0] ^= 1
        state["params"]["length"]["bias"] = bits.view(np.float32)
        shutil.rmtree(folder / "state")
        checkpointer.save(
            folder.parent / "new", ocp.args.Composite(state=ocp.args.PyTreeSave(state))
        )
    (folder.parent / "new" / "state").rename(folder / "state")
    shutil.rmtree(folder.parent / "new")


def metrics_file(folder):
    (path,) = (folder / "metrics").rglob("metrics")
    return path


def cut_metrics(folder):
    metrics_file(folder).write_text("{")


def flip_a_digit_of_the_metrics(folder):
    """0.5 -> 0.7: one bit of a file that stays sound JSON."""
    path = metrics_file(folder)
    assert b"0.5" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.7"))


def take_the_metrics_of_another_step(folder):
    metrics_file(folder).write_bytes(metrics_file(folder.parent / "5").read_bytes())


def remove_metrics(folder):
    shutil.rmtree(folder / "metrics")


def damage_metadata(folder):
    for path in folder.rglob("*METADATA"):
        path.write_text('{"init_timestamp_nsecs": 1, "another": 2}')


METRICS_DAMAGES = [
    cut_metrics,
    flip_a_digit_of_the_metrics,
    take_the_metrics_of_another_step,
    remove_metrics,
]
DAMAGES = [
    damage_metadata,
    damage_truncate,
    damage_remove,
    damage_empty,
    damage_checksums,
    flip_a_value,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_step_is_skipped_for_the_one_before_and_kept_aside(
    tmp_path, fresh, damage
):
    folder = tmp_path / "steps"
    write(folder, fresh, {3: figures(0.5), 5: figures(0.6), 7: figures(0.7)})
    damage(folder / "7")
    told = []
    abstract = jax.eval_shape(lambda: fresh)
    with Checkpoints(str(folder), keep_newest=9, is_writer=True) as checkpoints:
        restored = checkpoints.restore_newest(abstract, told.append)
        assert int(restored["step"]) == 5
        np.testing.assert_array_equal(
            restored["params"]["length"]["bias"], at_step(fresh, 5)["params"]["length"]["bias"]
        )
        assert len(told) == 1
        assert f"{folder}/7: this checkpoint cannot be used" in told[0]
        assert [path.name.split("-")[0] for path in (tmp_path / "damaged").iterdir()] == ["7"]
        checkpoints.save(7, at_step(fresh, 7), figures(0.8))  # training comes to step 7 again
        checkpoints.wait()
        assert checkpoints.steps() == [3, 5, 7]
        assert int(checkpoints.restore(7, abstract)["step"]) == 7


@pytest.mark.parametrize("damage", METRICS_DAMAGES)
def test_a_step_whose_metrics_are_damaged_is_whole_but_not_the_best_and_is_kept(
    tmp_path, fresh, damage
):
    write(tmp_path, fresh, {1: figures(0.4), 3: figures(0.5), 5: figures(0.6), 7: figures(0.55)})
    damage(tmp_path / "3")
    with Checkpoints(str(tmp_path), keep_newest=2, is_writer=True) as checkpoints:
        assert checkpoints.damaged_metrics(checkpoints.steps()) == [3]
        assert checkpoints.best_step() == 5
        assert int(checkpoints.restore(3, jax.eval_shape(lambda: fresh))["step"]) == 3
        checkpoints.save(9, at_step(fresh, 9), {"sequence_accuracy": "high", "loss": []})
        checkpoints.wait()
        assert checkpoints.steps() == [3, 5, 7, 9]
        assert checkpoints.damaged_metrics(checkpoints.steps()) == [3]


def test_a_step_that_was_not_validated_has_no_damaged_metrics(tmp_path, fresh):
    write(tmp_path, fresh, {3: None, 5: figures(float("nan"))})
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.damaged_metrics([3, 5]) == []
        assert checkpoints.best_step() is None


def test_what_is_saved_is_the_state_as_it_was_whatever_becomes_of_its_memory(tmp_path, fresh):
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    moving = at_step(fresh, 4)
    with Checkpoints(str(tmp_path), is_writer=True) as checkpoints:
        checkpoints.save(4, moving, None)
        for _ in range(5):
            moving = step(moving)
        checkpoints.wait()
        restored = checkpoints.restore(4, jax.eval_shape(lambda: fresh))
    for saved, back in zip(
        jax.tree.leaves(at_step(fresh, 4)), jax.tree.leaves(restored), strict=True
    ):
        np.testing.assert_array_equal(saved, back)


def test_a_save_that_fails_at_the_end_leaves_no_thread_and_no_open_manager(
    tmp_path, fresh, monkeypatch
):
    checkpoints, closed = Checkpoints(str(tmp_path), is_writer=True), []
    close = checkpoints._manager.close
    monkeypatch.setattr(checkpoints._manager, "save", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(checkpoints._manager, "close", lambda: closed.append(True) or close())
    with pytest.raises(CheckpointError, match="could not save"), checkpoints:
        checkpoints.save(1, at_step(fresh, 1), None)
    assert closed == [True]
    assert checkpoints._thread._shutdown


def test_a_save_that_fails_is_told_at_the_next_and_that_one_is_tried(tmp_path, fresh, monkeypatch):
    with Checkpoints(str(tmp_path), is_writer=True) as checkpoints:
        save = checkpoints._manager.save
        monkeypatch.setattr(
            checkpoints._manager,
            "save",
            lambda *_, **__: (_ for _ in ()).throw(OSError(28, "no space")),
        )
        checkpoints.save(1, at_step(fresh, 1), None)
        checkpoints._saving.exception()
        with pytest.raises(CheckpointError, match="could not save a checkpoint; check free space"):
            checkpoints.raise_if_failed()
        checkpoints.save(2, at_step(fresh, 2), None)
        checkpoints._saving.exception()
        monkeypatch.setattr(checkpoints._manager, "save", save)
        with pytest.raises(CheckpointError):
            checkpoints.save(3, at_step(fresh, 3), None)
        checkpoints.wait()
        assert checkpoints.steps() == [3]


def test_each_step_says_what_it_is(tmp_path, fresh):
    with Checkpoints(
        str(tmp_path), metadata={"versions": {"jax": "1.2"}}, is_writer=True
    ) as checkpoints:
        checkpoints.save(1, at_step(fresh, 1), None)
        checkpoints.wait()
        assert checkpoints.metadata(1) == {"versions": {"jax": "1.2"}}
        assert checkpoints.metadata(2) == {}
    (path,) = (tmp_path / "1" / "metadata").rglob("metadata")
    path.write_text(path.read_text().replace("1.2", "1.3"))
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.metadata(1) == {}


def test_a_flipped_bit_is_named_by_its_array(tmp_path, fresh):
    write(tmp_path, fresh, {3: figures(0.5)})
    flip_a_value(tmp_path / "3")
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(
            InputError, match=r"the checksum of \['params'\]\['length'\]\['bias'\] is not the one"
        ),
    ):
        checkpoints.restore(3, jax.eval_shape(lambda: fresh))


def test_where_no_step_is_whole_nothing_is_moved(tmp_path, fresh):
    folder = tmp_path / "steps"
    write(folder, fresh, {3: figures(0.5), 5: None})
    for step in (3, 5):
        damage_truncate(folder / str(step))
    with (
        Checkpoints(str(folder), is_writer=True) as checkpoints,
        pytest.raises(
            InputError, match=r"/5: this checkpoint cannot be used.* so is every step before it"
        ),
    ):
        checkpoints.restore_newest(jax.eval_shape(lambda: fresh), print)
    assert sorted(path.name for path in tmp_path.rglob("[0-9]")) == ["3", "5"]


def wrapped_memory_error():
    error = ValueError("could not read the state")
    error.__cause__ = MemoryError()
    return error


NO_DAMAGE = [
    OSError(errno.ETIMEDOUT, "Connection timed out"),
    jax.errors.JaxRuntimeError("INTERNAL: CUDA error: an illegal memory access was encountered"),
    MemoryError(),
    wrapped_memory_error(),
]


@pytest.mark.parametrize("error", NO_DAMAGE, ids=["access", "device", "memory", "memory, wrapped"])
def test_a_step_that_cannot_be_reached_is_not_taken_for_damaged(
    tmp_path, fresh, monkeypatch, error
):
    folder = tmp_path / "steps"
    write(folder, fresh, {3: figures(0.5), 5: None})

    def fail(*_, **__):
        raise error

    with Checkpoints(str(folder), keep_newest=9, is_writer=True) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "restore", fail)
        with pytest.raises(InputError, match="/5: could not be read just now") as caught:
            checkpoints.restore_newest(jax.eval_shape(lambda: fresh), print)
        assert not isinstance(caught.value, CheckpointError)
    assert sorted(path.name for path in tmp_path.rglob("[0-9]")) == ["3", "5"]


@pytest.mark.parametrize("error", NO_DAMAGE, ids=["access", "device", "memory", "memory, wrapped"])
def test_metrics_and_metadata_that_cannot_be_reached_are_not_taken_for_damaged(
    tmp_path, fresh, monkeypatch, error
):
    write(tmp_path, fresh, {3: figures(0.5), 5: figures(0.6)})

    def fail(*_, **__):
        raise error

    with Checkpoints(str(tmp_path)) as checkpoints:
        monkeypatch.setattr(ocp.CheckpointManager, "metrics", fail)
        monkeypatch.setattr(ocp.CheckpointManager, "restore", fail)
        for read in (checkpoints.best_step, checkpoints.newest_metadata):
            with pytest.raises(TryAgainError, match=r"/[35]: could not be read just now"):
                read()
        monkeypatch.undo()
        assert checkpoints.best_step() == 5


def test_sealed_metadata_of_another_kind_are_damaged(tmp_path, fresh):
    with Checkpoints(str(tmp_path), metadata={"versions": ["jax"]}, is_writer=True) as checkpoints:
        checkpoints.save(1, at_step(fresh, 1), None)
        checkpoints.wait()
        assert checkpoints.metadata(1) == {}


def test_an_error_of_orbax_is_cut_between_words_and_printable(tmp_path, fresh, monkeypatch):
    def fail(*_, **__):
        raise FileNotFoundError(
            "\x1b[2J none at " + " ".join(f"/a/long/path/{number}" for number in range(1000, 1050))
        )

    write(tmp_path, fresh, {3: None})
    with Checkpoints(str(tmp_path)) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "restore", fail)
        with pytest.raises(
            CheckpointError, match=r"Error: \?\[2J none at /a/long/path/1000 .*/\d{4} \.\.\.\)$"
        ):
            checkpoints.restore(3, jax.eval_shape(lambda: fresh))


def test_no_device_takes_part_in_the_verification(tmp_path, fresh):
    write(tmp_path, fresh, {3: figures(0.5)})
    with Checkpoints(str(tmp_path)) as checkpoints, jax.transfer_guard("disallow"):
        assert int(checkpoints.restore(3, jax.eval_shape(lambda: fresh))["step"]) == 3


def test_a_kill_while_an_old_step_is_deleted_leaves_no_part_of_it(tmp_path, fresh, monkeypatch):
    """The kill comes when the files are gone and the empty folders are not."""
    write(tmp_path, fresh, {1: figures(0.5), 3: figures(0.6)})

    def die(folder, *_):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                path.unlink()
        raise KeyboardInterrupt

    with Checkpoints(str(tmp_path), is_writer=True) as checkpoints:
        monkeypatch.setattr(type(epath.Path(tmp_path)), "rmtree", die)
        checkpoints.save(5, at_step(fresh, 5), figures(0.7))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.wait()
    with Checkpoints(str(tmp_path)) as checkpoints:  # a reader removes nothing
        assert checkpoints.damaged_metrics(checkpoints.steps()) == []
    monkeypatch.undo()
    with Checkpoints(str(tmp_path), is_writer=True) as checkpoints:
        checkpoints.save(7, at_step(fresh, 7), figures(0.8))
        checkpoints.wait()
        assert checkpoints.steps() == [7]
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


def test_every_so_many_steps_one_is_kept_for_ever(tmp_path, fresh):
    with Checkpoints(
        str(tmp_path), keep_newest=1, keep_every_steps=4, is_writer=True
    ) as checkpoints:
        for step in range(2, 12, 2):
            checkpoints.save(step, at_step(fresh, step), None)
            checkpoints.wait()
        assert checkpoints.steps() == [4, 8, 10]
