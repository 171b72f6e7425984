"""evaluate --watch: a run that saves, is killed, resumes and ends, between two looks of the watcher."""

import contextlib
import csv
import dataclasses
import json
import shutil

import jax
import pytest
from tiny import CONFIG, prepare

from svhn_jax import output
from svhn_jax.config import DataConfig
from svhn_jax.data import arrays
from svhn_jax.errors import InputError, UnfinishedError
from svhn_jax.inference import watch
from svhn_jax.model import networks
from svhn_jax.options import Evaluate
from svhn_jax.output import Output
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder
from svhn_jax.training import state as states


class Run:
    """A run of 6 steps, and what a training process does to it."""

    def __init__(self):
        self.config = dataclasses.replace(CONFIG, data=DataConfig(dir="data"))
        self.folder = RunFolder("run")
        network = networks.build(self.config.model)
        self.tree = jax.jit(lambda: states.create(self.config, network))().tree()
        self.facts = {"total_steps": 6}

    def begin(self):
        validation = arrays.load_split("data", "validation")
        record = DataRecord.of(
            self.config, {"train": "t", "validation": validation.fingerprint}, validation.crop
        )
        self.folder.start_or_continue(self.config, record, self.facts, has_steps=False)

    def lock(self):
        self.folder.lock()

    def end(self):
        self.folder.close()

    def save(self, step):
        with Checkpoints(self.folder.steps_path, keep_newest=9, is_writer=True) as checkpoints:
            checkpoints.save(step, self.tree, {"sequence_accuracy": 0.5, "loss": 1.0})

    def delete(self, step):
        shutil.rmtree(self.folder.path / "steps" / str(step))

    def damage(self, step):
        shutil.rmtree(self.folder.path / "steps" / str(step) / "state")


@pytest.fixture
def run(tmp_path, monkeypatch):
    prepare(tmp_path / "data", 3, validation=4)
    monkeypatch.chdir(tmp_path)
    return Run()


@pytest.fixture
def follow(run, monkeypatch, capsys):
    """follow(*acts): watches; each time the watcher sleeps, a second, the next act happens. Returns status and lines."""

    def follow(*acts, **options):
        now, coming = [0.0], list(acts)

        def sleep(_):
            now[0] += 1
            if coming and (act := coming.pop(0)):
                act()

        monkeypatch.setattr(watch.time, "sleep", sleep)
        monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
        capsys.readouterr()
        status = watch.follow(Evaluate(run="run", watch=True, patience_s=5, **options))
        assert not coming
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    yield follow
    output.console(Output())
    with contextlib.suppress(Exception):
        run.end()


def scored(name="validation"):
    with open(f"run/results/{name}.csv") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_scores_each_step_until_the_last(run, follow):
    status, printed = follow(
        None, run.begin, run.lock, lambda: run.save(3), None, lambda: run.save(6)
    )
    assert status == 0
    assert scored() == [3, 6]
    assert [line.split("] ")[1][:6] for line in printed.splitlines() if line.startswith("[")] == [
        "step 3",
        "step 6",
    ]
    assert (run.folder.path / "results/predictions/validation-3.csv").exists()


def test_follows_a_run_that_is_killed_and_resumed(run, follow):
    run.begin()
    run.lock()
    away = [None] * 3  # less than the patience
    status, _ = follow(
        lambda: run.save(3),
        run.end,
        *away,
        run.lock,
        lambda: run.save(4),
        *away,
        lambda: run.save(6),
    )
    assert status == 0
    assert scored() == [3, 4, 6]


def test_gives_up_a_run_that_nobody_trains_and_goes_on_later_without_scoring_twice(run, follow):
    run.begin()
    run.lock()
    with pytest.raises(
        UnfinishedError,
        match="no process has trained it for 5 s, and its last step is not saved; 1 of",
    ):
        follow(lambda: run.save(3), run.end)
    assert scored() == [3]
    run.save(6)
    status, printed = follow()
    assert status == 0
    assert "step 3:" not in printed
    assert scored() == [3, 6]
    assert "nothing new was saved to score" in follow()[1]


def test_a_damaged_step_is_left_out_until_it_is_saved_again(run, follow):
    run.begin()
    run.lock()
    run.save(3)
    run.damage(3)
    status, printed = follow(lambda: run.delete(3), lambda: run.save(3), lambda: run.save(6))
    assert status == 0
    assert printed.count("left out: ") == 1
    assert scored() == [3, 6]


def test_a_lower_step_scored_last_keeps_the_predictions_of_the_others(run, follow):
    run.begin()

    def save_3():  # as training does that was resumed before step 4, because that was damaged
        run.delete(4)
        run.tree = jax.tree.map(lambda x: x * 0, run.tree)
        run.save(3)

    with pytest.raises(UnfinishedError):
        follow(lambda: run.save(4), save_3)
    low, high = (
        (run.folder.path / f"results/predictions/validation-{step}.csv").read_text()
        for step in (3, 4)
    )
    assert low != high


def test_a_damaged_step_gives_status_1_and_is_named_with_quiet_too(run, follow):
    run.begin()
    for step in (3, 6):
        run.save(step)
    run.damage(3)
    status, printed = follow(output=Output(quiet=True))
    assert status == 1
    assert printed.startswith("left out: ")
    assert "steps/3: this checkpoint cannot be used" in printed
    assert scored() == [6]


def test_a_step_deleted_before_it_is_read_is_no_error(run, follow, monkeypatch):
    run.begin()
    for step in (3, 6):
        run.save(step)
    load = watch.load_variables

    def deleted_first(checkpoints, step, *rest):
        if step == 3:
            run.delete(3)
        return load(checkpoints, step, *rest)

    monkeypatch.setattr(watch, "load_variables", deleted_first)
    status, printed = follow()
    assert status == 0
    assert "step 3 was deleted before it could be scored" in printed
    assert scored() == [6]


def test_a_run_that_does_not_tell_its_length_is_opened_where_its_steps_change_alone(
    run, follow, monkeypatch
):
    del run.facts["total_steps"]
    run.begin()
    run.save(3)
    opened, open_steps = [], watch.Checkpoints
    monkeypatch.setattr(
        watch, "Checkpoints", lambda folder: opened.append(folder) or open_steps(folder)
    )
    with pytest.raises(UnfinishedError):
        follow(None, lambda: run.save(4))
    assert len(opened) == 2
    assert scored() == [3, 4]


def test_json_is_a_line_for_each_step(run, follow):
    run.begin()
    for step in (3, 6):
        run.save(step)
    lines = follow(output=Output(json=True))[1].splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6]
    assert {"sequence_accuracy", "sequence_low", "coverage_98"} <= json.loads(lines[0]).keys()


def test_quiet_prints_nothing(run, follow):
    run.begin()
    run.save(6)
    assert follow(output=Output(quiet=True)) == (0, "")


def test_what_cannot_be_watched_is_refused(run, follow, monkeypatch):
    with pytest.raises(InputError, match="run: no run there"):
        follow()
    with pytest.raises(InputError, match="--step is best, but --watch scores every step"):
        follow(step="best")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match="--watch is for one process"):
        follow()
