"""What training checks and records before its first step."""

import dataclasses
import json
from contextlib import closing

import pytest
from tiny import CONFIG, prepare

from svhn_jax.config import DataConfig
from svhn_jax.errors import InputError
from svhn_jax.output import SILENT
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training.reader_task import ReaderTask
from svhn_jax.training.run import open_checkpoints
from svhn_jax.training.run import prepare as prepare_run
from svhn_jax.training.steps import create

replace = dataclasses.replace


@pytest.fixture
def config(tmp_path):
    """Of a run on 20 random photos in tmp_path/a."""
    prepare(tmp_path / "a", 20, validation=6)
    return replace(
        CONFIG, runs_dir=str(tmp_path / "runs"), data=DataConfig(dir=str(tmp_path / "a"))
    )


def opened(config, *, saves=True):
    """The record of the run's data; a step is saved, and the run is closed again."""
    task, run = ReaderTask(config), RunFolder(f"{config.runs_dir}/{config.name}")
    setup = prepare_run(task, run)
    with closing(run), open_checkpoints(setup, SILENT) as checkpoints:
        if saves and not checkpoints.steps():
            checkpoints.save(3, create(task).tree(), None)
    return run.data()


def test_a_run_records_its_data_and_continues_with_no_others(config, tmp_path):
    record = opened(config)
    assert record.folder == str(tmp_path / "a")
    assert (record.crop.size, record.crop.margin) == (24, 0.3)
    manifest = tmp_path / "a" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"margin": 0.3', '"margin": 0.6'))
    with pytest.raises(InputError, match=r"margin 0\.6, but the run .*tiny has margin 0\.3"):
        opened(config)


def test_only_a_saved_step_keeps_other_settings_from_starting(config):
    opened(replace(config, batch_size=8), saves=False)
    opened(config)
    with pytest.raises(InputError, match="batch_size is 8, but 16 in the saved run"):
        opened(replace(config, batch_size=8))


def test_published_weights_are_not_trained_on_in_place(config):
    opened(config)
    facts = RunFolder(f"{config.runs_dir}/tiny").path / "run.json"
    facts.write_text(json.dumps({"published": {}}))
    with pytest.raises(InputError, match=r"published weights.* --start"):
        opened(config)
