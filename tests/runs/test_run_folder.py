import dataclasses
import json
import os
import subprocess

import pytest
from tiny import CONFIG

import svhn_jax
from svhn_jax.config import DataConfig
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError
from svhn_jax.runs import versions
from svhn_jax.runs.folder import DataRecord, RunFolder


def data(train="a", *, folder="/data/tiny", **crop):
    rule = CropRule(**{"size": 24, "margin": 0.3} | crop)
    return DataRecord({"train": train, "validation": "v"}, rule, folder)


@pytest.fixture
def run(tmp_path):
    run = RunFolder(str(tmp_path / "run"))
    run.start_or_continue(CONFIG, data(), {"total_steps": 9}, has_steps=False)
    return run


def test_a_run_continues_with_its_own_config_and_data(run):
    assert (run.config(), run.data(), run.facts()["total_steps"]) == (CONFIG, data(), 9)
    moved = data(folder="/moved/tiny")
    run.start_or_continue(dataclasses.replace(CONFIG, log_every_steps=9), moved, has_steps=True)
    assert (run.config().log_every_steps, run.data()) == (9, moved)


@pytest.mark.parametrize(
    ("config", "record", "named"),
    [
        (dataclasses.replace(CONFIG, batch_size=8), data(), "batch_size is 8, but 16"),
        (CONFIG, data("b"), "the train data have changed"),
        (CONFIG, data("b", size=48), "size 48"),
    ],
)
def test_a_saved_run_refuses_another_config_and_other_data(run, config, record, named):
    with pytest.raises(InputError, match=named):
        run.start_or_continue(config, record, has_steps=True)
    assert (run.config(), run.data()) == (CONFIG, data())
    run.start_or_continue(config, record, has_steps=False)  # without a saved step it starts anew
    assert (run.config(), run.data()) == (config, record)


def test_data_are_recorded_by_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for path, recorded in (("data", f"{tmp_path}/data"), ("gs://bucket/data", "gs://bucket/data")):
        config = dataclasses.replace(CONFIG, data=DataConfig(dir=path))
        assert DataRecord.of(config, {}, CropRule(24, 0.3)).folder == recorded


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps({"data": dataclasses.asdict(data()) | {"crop": {"sizes": 24, "margin": 0.3}}}),
    ],
)
def test_a_damaged_record_of_the_data_is_named(run, text):
    (run.path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json: "):
        run.data()


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: no run there"):
        RunFolder(str(tmp_path)).config()
    assert RunFolder(str(tmp_path)).facts() == {}


@pytest.mark.parametrize("path", ["az://a/b", "GS://a/b", "gs:/a/b", "https://a/b", "file:///a"])
def test_an_address_of_an_unknown_scheme_is_refused(path):
    with pytest.raises(InputError, match=f"{path}: "):
        RunFolder(path)


def test_metrics_after_the_restored_step_and_torn_lines_are_dropped(run):
    for step in (1, 2, 3):
        run.add_metrics({"step": step, "loss": step / 2})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "lo')
    assert [row["step"] for row in run.metrics()] == [1, 2, 3]
    run.truncate_metrics(2)
    run.add_metrics({"step": 3, "loss": float("nan")})
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows] == [0.5, 1.0, None]


def test_in_a_bucket_metrics_are_written_by_flush_alone(run, monkeypatch):
    monkeypatch.setattr(run, "is_remote", True)
    run.add_metrics({"step": 1})
    assert run.metrics() == []
    run.flush_metrics()
    run.add_metrics({"step": 2})
    run.flush_metrics()
    assert [row["step"] for row in run.metrics()] == [1, 2]
    run.truncate_metrics(1)
    run.add_metrics({"step": 5})
    run.flush_metrics()
    assert [row["step"] for row in run.metrics()] == [1, 5]


def test_a_second_trainer_is_refused_with_the_process_of_the_first(run):
    run.lock()
    with pytest.raises(InputError, match=rf"run: process {os.getpid()} on \S+ is training here"):
        RunFolder(str(run.path)).lock()
    run.close()
    again = RunFolder(str(run.path))
    again.lock()
    again.close()


def test_the_commit_is_that_of_the_checkout(monkeypatch, tmp_path):
    package = tmp_path / "svhn_jax"
    package.mkdir()
    monkeypatch.setattr(svhn_jax, "__path__", [str(package)])
    assert versions.versions()["commit"] == ""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a"], check=True)
    assert len(versions.versions()["commit"]) == 12
