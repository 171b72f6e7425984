"""The train loop in this process, on all virtual devices; each test has its own run."""

import dataclasses
import json
import os
import signal
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import CONFIG, prepare

from svhn_jax.config import DataConfig
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.training import loop, processes
from svhn_jax.training import run as training_run

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
replace = dataclasses.replace


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A run of 12 steps that logs every 4 and validates every 6."""
    folder = tmp_path_factory.mktemp("loop")
    prepare(folder / "data", 48, validation=8)
    return replace(
        CONFIG,
        num_epochs=4,
        log_every_steps=4,
        eval_every_steps=6,
        runs_dir=str(folder / "runs"),
        data=DataConfig(dir=str(folder / "data")),
    )


@pytest.fixture(scope="module")
def whole(config):
    """That run, of the name "tiny", done."""
    assert training_run.run(config) == 0
    return config


def rows_of(config):
    lines = Path(config.runs_dir, config.name, "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name != "images_per_s"}
        for line in lines
    ]


def signal_at(monkeypatch, step, number=signal.SIGTERM):
    """Sends this process a signal when the loop has dispatched that step."""
    advance = loop.RunLogger.advance

    def advance_and_signal(self, done):
        if done == step - 1:
            os.kill(os.getpid(), number)
        advance(self, done)

    monkeypatch.setattr(loop.RunLogger, "advance", advance_and_signal)


def test_a_stopped_run_writes_the_rows_of_one_that_never_stopped(whole, monkeypatch):
    """The first train row after a stop is of fewer steps; all others are the same."""
    halves = replace(whole, name="halves")
    signal_at(monkeypatch, 3)
    assert training_run.run(halves) == 143
    monkeypatch.undo()
    assert training_run.run(halves) == 0
    pairs = zip(rows_of(halves), rows_of(whole), strict=True)
    differing = [
        (one["split"], one["step"], one["examples"]) for one, other in pairs if one != other
    ]
    assert differing == [("train", 4, 16)]


def test_a_signal_in_the_last_step_leaves_a_finished_run(whole, monkeypatch):
    last = replace(whole, name="last")
    signal_at(monkeypatch, 12, signal.SIGINT)
    assert training_run.run(last) == 0
    assert rows_of(last) == rows_of(whole)


def test_strict_settings_of_the_users_program_change_no_number(whole, request):
    strict = {
        "jax_enable_x64": True,
        "jax_numpy_rank_promotion": "raise",
        "jax_numpy_dtype_promotion": "strict",
        "jax_debug_nans": True,
        "jax_transfer_guard": "disallow",
        "jax_default_device": jax.devices()[3],
    }
    for name, value in strict.items():
        request.addfinalizer(partial(jax.config.update, name, jax.config.values[name]))
        jax.config.update(name, value)
    data = replace(whole.data, placement="resident")
    changed = replace(whole, name="strict", data=data)
    assert training_run.run(changed) == 0
    assert training_run.run(changed) == 0  # reads the saved step
    assert rows_of(changed) == rows_of(whole)


def test_ctrl_c_after_a_signal_interrupts_and_a_second_sigterm_does_not():
    with processes.stop_signals() as stopped_by:
        assert stopped_by(1) == 0
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped_by(2) == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_state_that_is_not_finite_is_never_saved(config, monkeypatch):
    """The loss of a step says nothing of the state after it: here a signal asks to save that."""
    optimizer = replace(config.optimizer, learning_rate=1e38, warmup_fraction=0.0)
    broken = replace(config, name="broken", optimizer=optimizer)
    signal_at(monkeypatch, 3)
    with pytest.raises(InputError, match=r"step 3 .*not finite.* diverged"):
        training_run.run(broken)
    assert not list(Path(config.runs_dir, "broken", "steps").glob("[0-9]*"))


def test_a_finished_run_trains_on_under_a_constant_schedule_alone(whole):
    with pytest.raises(InputError, match=r"num_epochs is 5, but 4 .*--start"):
        training_run.run(replace(whole, num_epochs=5))
    optimizer = replace(whole.optimizer, schedule="constant", warmup_fraction=0.0)
    constant = replace(whole, name="constant", optimizer=optimizer)
    assert training_run.run(replace(constant, num_steps=2)) == 0
    assert training_run.run(replace(constant, num_steps=4)) == 0
    assert [row["step"] for row in rows_of(constant) if row["split"] == "validation"] == [2, 4]


def test_start_takes_the_weights_that_fit_and_names_the_others(whole, capfd):
    from svhn_jax.output import Terminal

    longer = replace(whole, name="started", num_steps=1, model=replace(whole.model, max_digits=7))
    folder = Path(whole.data.dir).with_name("data7")
    prepare(folder, 48, validation=8, max_digits=7)
    longer = replace(longer, data=DataConfig(dir=str(folder)))
    optimizer = replace(whole.optimizer, learning_rate=1e-30, warmup_fraction=0.0)
    longer = replace(longer, optimizer=replace(optimizer, weight_decay=0.0))
    start = f"{whole.runs_dir}/{whole.name}"
    assert training_run.run(longer, start=start, terminal=Terminal()) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "Starts from" in line]
    assert "length/kernel" in line
    assert "digit6/kernel" in line
    assert "stem" not in line
    assert "digit1/" not in line

    def params(name):
        with Checkpoints(f"{whole.runs_dir}/{name}/steps") as checkpoints:
            return checkpoints.restore_weights(checkpoints.best_step())["params"]

    before, after = params(whole.name), params("started")
    np.testing.assert_allclose(after["stem"]["kernel"], before["stem"]["kernel"], atol=1e-6)
    with pytest.raises(InputError, match="nothing: holds no checkpoint"):
        training_run.run(replace(longer, name="nowhere"), start=f"{whole.runs_dir}/nothing")


def test_a_failed_save_ends_the_run_before_the_next_one(config, monkeypatch):
    """The step before stays, and the run continues from there."""
    full = replace(config, name="full_disk", eval_every_steps=3)
    save, steps = Checkpoints._write, []

    def no_space(self, step, *arguments):
        steps.append(step)
        if step == 6:
            raise OSError(28, "No space left on device")
        save(self, step, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "_write", no_space)
        with pytest.raises(CheckpointError, match="No space left"):
            training_run.run(full)
    assert steps == [3, 6]
    with Checkpoints(f"{config.runs_dir}/full_disk/steps") as checkpoints:
        assert checkpoints.steps() == [3]
    assert training_run.run(full) == 0


def test_a_batch_larger_than_an_epoch_is_refused_before_a_run_is_begun(config, tmp_path):
    large = replace(config, batch_size=96, runs_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"batch_size is 96, .* --batch-size 48"):
        training_run.run(large)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12345 bytes."),
            r"out of memory .*--batch-size is 16, --eval-batch-size 256$",
        ),
        (CheckpointError("cannot be written (RESOURCE_EXHAUSTED: No space)"), "^cannot be written"),
    ],
)
def test_memory_that_does_not_suffice_is_one_line_that_names_the_batch(
    config, monkeypatch, raised, expected
):
    def full(*_):
        raise raised

    monkeypatch.setattr(loop.steps, "compile_train_step", lambda *_: full)
    with pytest.raises(InputError, match=expected):
        training_run.run(replace(config, name="full"))


def test_nothing_is_compiled_after_the_second_validation(config, monkeypatch):
    compiled, at_validation = [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if name.endswith("compile_duration") else None
    )
    write = loop.RunLogger.write_validation

    def counting(self, *arguments):
        write(self, *arguments)
        at_validation.append(len(compiled))

    monkeypatch.setattr(loop.RunLogger, "write_validation", counting)
    assert training_run.run(replace(config, name="counted", eval_every_steps=3)) == 0
    assert at_validation[0] > 0
    assert at_validation[1:] == [at_validation[1]] * 3
