"""Which data and which steps of a run are scored; scoring saved steps, all at once or as saved."""

import csv
import dataclasses
import json
import shutil

import pytest
from tiny import CONFIG, prepare, save_run

from svhn_jax.config import DataConfig
from svhn_jax.data import arrays
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.inference import scoring
from svhn_jax.inference.scoring import Scorer, open_split, score_step
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
    """A run that has saved steps 7, the best, and 8 of 10; the state of both."""
    run, _, state = save_run(tmp_path)
    run.write_text("run.json", json.dumps(run.facts() | {"total_steps": 10}))
    with Checkpoints(run.steps_path, keep_newest=9, is_writer=True) as checkpoints:
        checkpoints.save(8, state.tree(), {"sequence_accuracy": 0.1, "loss": 1.0})
    return run, state


def save(run, state, step):
    with Checkpoints(run.steps_path, keep_newest=9, is_writer=True) as checkpoints:
        checkpoints.save(step, state.tree(), None)


def damage(run, step):
    shutil.rmtree(run.path / "steps" / str(step) / "state")


def rows_of(run, name="validation"):
    with open(run.path / "results" / f"{name}.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("wanted", "step"), [("best", 7), ("latest", 8), ("7", 7), (7, 7)])
def test_a_step_is_scored_and_nothing_is_written(saved, wanted, step):
    run, _ = saved
    scored = score_step(str(run.path), "validation", wanted)
    assert (scored.step, scored.metrics["examples"], len(scored.table.names)) == (step, 4, 4)
    assert scored.metrics["sequence_accuracy"] == scored.table.is_right.mean()
    assert not (run.path / "results").exists()


@pytest.mark.parametrize("wanted", ["lates", "9", 9])
def test_a_step_that_is_not_there_is_named_with_those_that_are(saved, wanted):
    with pytest.raises(InputError, match=f"--step is '?{wanted}'?.* 7, 8"):
        score_step(str(saved[0].path), "validation", wanted)


def test_all_steps_are_scored_and_a_damaged_one_is_left_out(saved):
    run, _ = saved
    damage(run, 8)
    scorer = Scorer(str(run.path))
    assert [scored.step for scored in scorer.evaluate("all")] == [7]
    assert list(scorer.damaged) == [8]
    assert [row["step"] for row in rows_of(run)] == ["7"]
    assert (run.path / "results/predictions/validation-7.csv").exists()
    with pytest.raises(CheckpointError, match=r"steps/8"):
        list(Scorer(str(run.path)).evaluate("latest"))


def test_other_data_and_averaged_windows_have_tables_of_their_own(saved, tmp_path):
    run, _ = saved
    for how in ({"tta": True}, {"data": str(tmp_path / "data")}):
        list(Scorer(str(run.path), "validation", **how).evaluate("best"))
    (tta,) = rows_of(run, "validation-tta")
    [other] = (run.path / "results").glob("validation-data-????????.csv")
    (plain,) = rows_of(run, other.stem)
    assert tta["loss"] != plain["loss"]


@pytest.fixture
def follow(saved, monkeypatch):
    """follow(*acts): watches; each time the watcher sleeps, a second, the next act happens."""
    run, _ = saved

    def follow(*acts):
        now, coming = [0.0], list(acts)

        def sleep(_):
            now[0] += 1
            if coming and (act := coming.pop(0)):
                act()

        monkeypatch.setattr(scoring.time, "sleep", sleep)
        monkeypatch.setattr(scoring.time, "monotonic", lambda: now[0])
        scorer = Scorer(str(run.path))
        steps = [scored.step for scored in scorer.follow(5)]
        assert not coming
        return steps, list(scorer.damaged)

    yield follow
    run.close()


def test_watch_scores_each_step_once_until_the_last(saved, follow):
    run, state = saved
    run.lock()
    away = [None] * 3  # less than the patience
    acts = (lambda: save(run, state, 9), run.close, *away, run.lock, *away)
    assert follow(*acts, lambda: save(run, state, 10)) == ([7, 8, 9, 10], [])
    assert [row["step"] for row in rows_of(run)] == ["7", "8", "9", "10"]
    assert follow() == ([], [])


def test_watch_gives_up_a_run_that_nobody_trains(saved, follow):
    with pytest.raises(InputError, match="no process has trained it for 5 s"):
        follow()
    assert [row["step"] for row in rows_of(saved[0])] == ["7", "8"]


def test_watch_notes_a_damaged_step_and_passes_over_a_deleted_one(saved, follow, monkeypatch):
    run, state = saved
    save(run, state, 10)
    damage(run, 8)
    score = Scorer.score

    def deleted_first(self, checkpoints, step, *rest):
        if step == 7:
            shutil.rmtree(run.path / "steps" / "7")
        return score(self, checkpoints, step, *rest)

    monkeypatch.setattr(Scorer, "score", deleted_first)
    assert follow() == ([10], [8])
