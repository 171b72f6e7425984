"""What training checks, records and tells before its first step."""

import dataclasses
import json
import os
from contextlib import nullcontext

import jax.numpy as jnp
import pytest
from tiny import CONFIG, prepare

import svhn_jax
from svhn_jax.config import DataConfig
from svhn_jax.errors import InputError
from svhn_jax.options import Processes
from svhn_jax.output import SILENT, Terminal
from svhn_jax.training import run as training_run
from svhn_jax.training.setup import open_checkpoints
from svhn_jax.training.setup import prepare as prepare_run
from svhn_jax.training.state import TrainState


@pytest.mark.parametrize(
    ("runs_dir", "count", "is_refused"),
    [("gs://b/runs", None, True), ("gs://b/runs", 1, False), ("runs", None, False)],
)
def test_pods_that_do_not_know_of_one_another_do_not_write_one_run(
    monkeypatch, runs_dir, count, is_refused
):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    monkeypatch.setattr(training_run, "_run", lambda config, printed: 0)
    monkeypatch.setattr(training_run.compilation, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(  # as it does where it finds no cluster
        training_run.processes,
        "join_processes",
        lambda *_: os.environ.pop("KUBERNETES_SERVICE_HOST"),
    )
    expected = (
        pytest.raises(InputError, match=r"no completion index.*--processes 1")
        if is_refused
        else nullcontext()
    )
    with expected:
        assert (
            training_run.run(
                dataclasses.replace(CONFIG, runs_dir=runs_dir), Processes(processes=count)
            )
            == 0
        )


@pytest.fixture
def config(tmp_path):
    """Of a run on 20 random photos in tmp_path/a."""
    prepare(tmp_path / "a", 20, validation=6)
    return dataclasses.replace(
        CONFIG, runs_dir=str(tmp_path / "runs"), data=DataConfig(dir=str(tmp_path / "a"))
    )


def state_at(step):
    return TrainState(jnp.int32(step), {"w": jnp.ones(2)}, {}, {}, {})


def opened(config, terminal=SILENT):
    """What was recorded of the run; its folder is closed again."""
    setup = prepare_run(config)
    try:
        with open_checkpoints(terminal, setup) as checkpoints:
            if not checkpoints.steps():
                checkpoints.save(3, state_at(3).tree(), None)
    finally:
        setup.run._lock.close()
    return setup.run.data()


def test_validation_photos_are_never_trained_on(config, tmp_path):
    prepare(tmp_path / "leak", 6, seed=100)  # the validation photos of tmp_path/a
    mixed = dataclasses.replace(config.data, mix_in=(str(tmp_path / "leak"),))
    with pytest.raises(InputError, match="leak: its train split holds 6 of the validation photos"):
        prepare_run(dataclasses.replace(config, data=mixed))


def test_a_run_records_its_data_and_goes_on_with_no_others(config, tmp_path):
    record = opened(config)
    assert (record.folder, record.mix_in) == (str(tmp_path / "a"), ())
    assert (record.crop.size, record.crop.margin) == (24, 0.3)
    manifest = tmp_path / "a" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"margin": 0.3', '"margin": 0.6'))
    with pytest.raises(
        InputError, match=r"a: its crops have margin 0\.6, but the run .*tiny has margin 0\.3"
    ):
        opened(config)


def test_only_a_saved_step_keeps_other_settings_from_starting(config):
    setup = prepare_run(dataclasses.replace(config, batch_size=8))
    open_checkpoints(SILENT, setup).__exit__(None)  # a start that failed before its first save
    setup.run._lock.close()
    opened(config)
    with pytest.raises(InputError, match="batch_size is 8, but 16 in the saved run"):
        opened(dataclasses.replace(config, batch_size=8))


def test_changed_code_is_printed_when_a_run_continues(config, monkeypatch, capsys):
    opened(config)
    monkeypatch.setattr(svhn_jax, "__version__", "9.9")
    opened(config, Terminal())
    assert "svhn_jax 0.1.0 -> 9.9" in capsys.readouterr().out
    opened(config, Terminal())
    assert capsys.readouterr().out == ""


def test_a_run_goes_on_with_no_other_max_digits_though_its_data_have_it_too(config, tmp_path):
    opened(config)
    prepare(tmp_path / "meters", 20, validation=6, max_digits=8)
    changed = dataclasses.replace(
        config,
        data=DataConfig(dir=str(tmp_path / "meters")),
        model=dataclasses.replace(config.model, max_digits=8),
    )
    with pytest.raises(
        InputError,
        match=r"tiny: model\.max_digits is 8, but 5 in the saved run; give the saved values",
    ):
        opened(changed)


def test_a_run_of_a_version_without_max_digits_goes_on(config, tmp_path):
    opened(config)
    path = tmp_path / "runs" / "tiny" / "config.json"
    saved = json.loads(path.read_text())
    assert saved["model"].pop("max_digits") == 5
    path.write_text(json.dumps(saved))
    opened(config)
