"""Which data and which steps of a run are scored."""

import dataclasses
import json
import shutil

import jax.numpy as jnp
import pytest
from tiny import CONFIG, prepare, save_run

from svhn_jax import files, output
from svhn_jax.config import DataConfig
from svhn_jax.data import arrays
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.inference import evaluation
from svhn_jax.inference.evaluation import _load
from svhn_jax.inference.source import load_split
from svhn_jax.model import networks
from svhn_jax.options import Evaluate, Processes
from svhn_jax.output import Output
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder
from svhn_jax.training.state import TrainState


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run in tmp_path/run, trained in that folder on data/a there."""
    prepare(tmp_path / "data" / "a", 3, validation=4)
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(CONFIG, data=DataConfig(dir="data/a"))
    validation = arrays.load_split("data/a", "validation")
    run = RunFolder("run")
    record = DataRecord.of(
        config, {"train": "t", "validation": validation.fingerprint}, validation.crop
    )
    run.start_or_continue(config, record, has_steps=False)
    return run


def load(run, **options):
    return load_split(Evaluate(split="validation", **options), run, run.config())[1]


def test_a_runs_own_data_are_found_from_anywhere(run, tmp_path, monkeypatch):
    assert load(run) == "data/a"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(run) == str(tmp_path / "data/a")
    prepare(
        tmp_path / "elsewhere/data/a", 3, validation=4, seed=1
    )  # others, at the same relative path
    assert load(run) == str(tmp_path / "data/a")


def test_a_damaged_data_set_at_the_same_relative_path_is_passed_over(run, tmp_path, monkeypatch):
    prepare(tmp_path / "elsewhere/data/a", 3, validation=4)
    (tmp_path / "elsewhere/data/a/manifest.json").write_text("{")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(run) == str(tmp_path / "data/a")
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(InputError, match=r"data/a/manifest\.json: damaged"):
        load(run)


def saved(run):
    with Checkpoints(run.steps_path, is_writer=True) as checkpoints:
        state = TrainState(jnp.int32(3), {"w": jnp.ones(2)}, {}, {}, {})
        checkpoints.save(3, state.tree(), {"sequence_accuracy": 0.5, "loss": 1.0})
    return Checkpoints(run.steps_path)


def test_a_damaged_step_comes_with_a_remedy(run):
    with saved(run) as checkpoints:
        shutil.rmtree(run.path / "steps" / "3" / "state")
        with pytest.raises(
            CheckpointError, match="; give another --step, or run the same train command"
        ):
            _load(run, checkpoints, 3, CONFIG, networks.build(CONFIG.model), [], 1)


def test_results_that_cannot_be_written_are_noticed_before_the_work(
    tmp_path, monkeypatch, compiled
):
    def read_only(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled))
    run, _, _ = save_run(tmp_path)
    monkeypatch.setattr(files.Path, "touch", read_only)
    monkeypatch.setattr(evaluation, "StepScorer", None)
    with pytest.raises(InputError) as caught:
        evaluation.run(Evaluate(run=str(run.path), processes=Processes(processes=1)))
    results = run.path / "results" / "validation.csv"
    assert str(caught.value).startswith(
        f"{results}: Permission denied; evaluate writes its results into the run's folder"
    )


def test_a_damaged_step_among_others_is_named_on_stderr_and_in_the_json(
    tmp_path, capsys, monkeypatch, compiled
):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled))
    run, _, state = save_run(tmp_path)
    with Checkpoints(run.steps_path, keep_newest=9, is_writer=True) as checkpoints:
        checkpoints.save(8, state.tree(), None)
    shutil.rmtree(run.path / "steps" / "7" / "state")
    options = Evaluate(
        run=str(run.path), step="all", processes=Processes(processes=1), output=Output(json=True)
    )
    assert evaluation.run(options) == 1
    output.console(Output())
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert [row["step"] for row in result["steps"]] == [8]
    (damaged,) = result["damaged"]
    assert "steps/7: this checkpoint cannot be used" in damaged
    assert printed.err.splitlines()[-1] == f"left out: {damaged}"


def test_moved_runs_and_moved_data_are_scored_with_data(run, tmp_path, monkeypatch):
    shutil.move(tmp_path / "run", tmp_path / "moved_run")
    shutil.move(tmp_path / "data", tmp_path / "moved_data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = RunFolder("../moved_run")
    with pytest.raises(
        InputError, match=r"are not in data/a or /.*/data/a; give --data DIR, a prepared data set"
    ):
        load(moved)
    assert load(moved, data="../moved_data/a") == "../moved_data/a"


def test_changed_data_are_not_taken_for_the_runs_own(run, tmp_path):
    shutil.rmtree("data/a")
    prepare(tmp_path / "data" / "a", 3, validation=4, seed=1)
    with pytest.raises(
        InputError, match=r"the data in data/a have changed since it was trained; give --data DIR"
    ):
        load(run)
    assert load(run, data="data/a") == "data/a"


def test_crops_of_another_rule_are_refused(run, tmp_path):
    prepare(tmp_path / "large", 3, validation=4, side=32)
    with pytest.raises(
        InputError,
        match=r"large: its crops have size 32, but the run .*run has size 24; .*--size 24",
    ):
        load(run, data="large")
    prepare(
        tmp_path / "small", 3, validation=4, side=16
    )  # smaller than the window, too: the rule is the reason
    with pytest.raises(
        InputError,
        match=r"small: its crops have size 16, but the run .*run has size 24; .*--size 24",
    ):
        load(run, data="small")


@pytest.mark.parametrize("options", [{}, {"data": "data/a"}])
def test_a_split_that_the_data_lack_is_told_with_those_they_have(run, options):
    with pytest.raises(
        InputError, match=r"^data/a: has no test images; give --split train or validation$"
    ):
        load_split(Evaluate(split="test", **options), run, run.config())
