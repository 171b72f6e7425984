"""Which data and which steps of a run are scored, and the table of predictions."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
from tiny import CONFIG, prepare, save_run

from svhn_jax.config import DataConfig
from svhn_jax.data import arrays
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.inference import scoring
from svhn_jax.inference.scoring import PredictionTable, open_split, score_step, score_steps
from svhn_jax.labels import encode
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run in tmp_path/run, trained in that folder on data/a there."""
    prepare(tmp_path / "data" / "a", 3, validation=4)
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(CONFIG, data=DataConfig(dir="data/a"))
    validation = arrays.load_split("data/a", "validation")
    prints = {"train": "t", "validation": validation.fingerprint}
    record = DataRecord.of(config, prints, validation.crop)
    RunFolder("run").start_or_continue(config, record, {}, has_steps=False)
    return RunFolder("run")


def data_of(run, data=None):
    return open_split(run, "validation", data)[1]


def test_a_runs_own_data_are_found_from_anywhere(run, tmp_path, monkeypatch):
    assert data_of(run) == "data/a"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert data_of(run) == str(tmp_path / "data/a")
    prepare(elsewhere / "data/a", 3, validation=4, seed=1)  # others, at the same relative path
    with pytest.raises(InputError, match=r"data/a have changed.*--data"):
        data_of(run)


def test_moved_data_and_other_data_need_an_option(run, tmp_path):
    shutil.move("data", "moved")
    with pytest.raises(InputError, match=r"data/a.*--data"):
        data_of(run)
    assert data_of(run, "moved/a") == "moved/a"
    prepare(tmp_path / "data" / "a", 3, validation=4, seed=1)
    with pytest.raises(InputError, match=r"data/a have changed.*--data"):
        data_of(run)
    assert data_of(run, "data/a") == "data/a"


def test_crops_of_another_rule_and_splits_that_lack_are_refused(run, tmp_path):
    prepare(tmp_path / "large", 3, validation=4, side=32)
    with pytest.raises(InputError, match=r"large: .* size 32, .* size 24"):
        data_of(run, "large")
    for data in (None, "data/a"):
        with pytest.raises(InputError, match="has no split 'test'"):
            open_split(run, "test", data)


@pytest.fixture
def saved(tmp_path):
    """A run that has saved steps 7, the best, and 8; the state of both."""
    run, _, state = save_run(tmp_path)
    with Checkpoints(run.steps_path, keep_newest=9, is_writer=True) as checkpoints:
        checkpoints.save(8, state.tree(), {"sequence_accuracy": 0.1, "loss": 1.0})
    return run, state


@pytest.mark.parametrize(("wanted", "step"), [("best", 7), ("latest", 8), ("7", 7), (7, 7)])
def test_a_step_is_scored(saved, wanted, step):
    run, _ = saved
    scored = score_step(str(run.path), "validation", wanted)
    assert (scored.step, scored.metrics["examples"], len(scored.table.names)) == (step, 4, 4)
    assert scored.metrics["sequence_accuracy"] == scored.table.is_right.mean()


@pytest.mark.parametrize("wanted", ["lates", "9", 9])
def test_a_step_that_is_not_there_is_named_with_those_that_are(saved, wanted):
    with pytest.raises(InputError, match=f"--step is '?{wanted}'?.* 7, 8"):
        score_step(str(saved[0].path), "validation", wanted)


def test_all_steps_are_scored_and_a_damaged_one_is_named_at_the_end(saved):
    run, _ = saved
    shutil.rmtree(run.path / "steps/7/state")
    steps = score_steps(str(run.path), step="all")
    assert next(steps).step == 8
    with pytest.raises(CheckpointError, match="steps/7"):
        next(steps)


def test_other_data_and_averaged_windows_have_tables_of_their_own(saved, tmp_path):
    run, _ = saved
    tta, plain = (score_step(str(run.path), "validation", tta=tta) for tta in (True, False))
    assert (tta.name, plain.name) == ("validation-tta", "validation")
    assert tta.metrics["loss"] != plain.metrics["loss"]
    other = score_step(str(run.path), "validation", data=str(tmp_path / "data"))
    assert re.fullmatch(r"validation-data-[^-]{8}", other.name)


def test_a_table_of_predictions_as_csv_and_in_groups():
    truths, read = ("0012345", "7", ""), ("123456789", "7", "5")
    columns = [
        np.stack([encode([*map(int, text)], 8) for text in texts]) for texts in (truths, read)
    ]
    digit_p = np.where(columns[1][:, 1:] != 10, 0.75, np.nan)
    p = np.linspace(0.25, 0.5, 3)
    table = PredictionTable(["a,b.png", "ü.png", "c.png"], *columns, p, p * 2, digit_p)
    header, first, second, _ = table.to_csv().splitlines()
    digits = ",".join(f"digit_{n}_p" for n in range(1, 9))
    assert header == f"name,truth,prediction,confidence,length_p,{digits}"
    assert first.startswith('"a,b.png",0012345,12345678+,0.250000,0.500000,0.750000,')
    assert second == "ü.png,7,7,0.375000,0.750000,0.750000,,,,,,,"
    assert table.is_right.tolist() == [False, True, False]
    assert scoring.by_length(table) == {0: (0, 1), 1: (1, 1), 7: (0, 1)}
    assert scoring.by_position(table)[1] == (1, 2)
