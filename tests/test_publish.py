"""Weights of a saved step as a small run of their own."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny import CONFIG, prepare, random_split, save_run

from svhn_jax import publish
from svhn_jax.config import DataConfig, OptimizerConfig
from svhn_jax.errors import InputError
from svhn_jax.inference.reader import Reader
from svhn_jax.training.setup import open_checkpoints
from svhn_jax.training.setup import prepare as prepare_run


def published(monkeypatch, run, to):
    monkeypatch.setattr("sys.argv", ["publish", "--run", str(run.path), "--to", str(to)])
    assert publish.main() == 0
    return to


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_it_reads_the_same_and_holds_weights_alone(tmp_path, monkeypatch, ema_decay):
    config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(ema_decay=ema_decay))
    run, _, _ = save_run(tmp_path, config)
    monkeypatch.chdir(tmp_path)
    to = published(monkeypatch, run, tmp_path / "weights")
    images = random_split(5).images
    ours, theirs = Reader(str(to)), Reader(str(run.path))
    assert ours.step == 7
    temperature = json.loads((to / "steps/7/metadata/metadata").read_text())["published"]["temperature"]
    for cooled, plain in zip(ours.logits(images), theirs.logits(images), strict=True):
        np.testing.assert_allclose(cooled, plain / temperature, rtol=1e-4, atol=1e-5)
    sizes = [
        sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) for folder in (to, run.path)
    ]
    assert sizes[0] < sizes[1]
    markers = [path.read_text() for path in to.rglob("commit_success.txt")]
    assert set(markers) == {"Checkpoint commit was successful\n"}  # Orbax writes the path of the folder
    saved = json.loads((to / "config.json").read_text())
    assert (saved["name"], saved["runs_dir"]) == ("weights", "checkpoints")


def test_what_was_published_is_not_trained_on(tmp_path, monkeypatch):
    run, config, _ = save_run(tmp_path)
    to = published(monkeypatch, run, tmp_path / "weights")
    prepare(tmp_path / "more", 32, validation=4)
    config = dataclasses.replace(
        config, name="weights", runs_dir=str(tmp_path), data=DataConfig(dir=str(tmp_path / "more"))
    )
    setup = prepare_run(config)
    with pytest.raises(InputError, match="published weights, which cannot be trained on; give another --name"):
        open_checkpoints(Console(), setup)
    setup.run.close()
    assert (to / "steps/7").is_dir()


def test_a_folder_that_exists_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["publish", "--run", "r", "--to", str(tmp_path)])
    with pytest.raises(InputError, match="exists already"):
        publish.main()
