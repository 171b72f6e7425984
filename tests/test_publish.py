"""Weights of a saved step as a small run of their own."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tiny import CONFIG, random_split, save_run

from svhn_jax import cli, publish
from svhn_jax.config import LossConfig, OptimizerConfig
from svhn_jax.data import arrays
from svhn_jax.inference import calibration
from svhn_jax.inference.reader import Reader
from svhn_jax.model import losses
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder

TEMPERATURE = 0.8  # the weights of the tests are random, and no temperature calibrates them
REAL_TEMPERATURE_OF = calibration.temperature_of


@pytest.fixture(autouse=True)
def temperature(monkeypatch):
    monkeypatch.setattr(calibration, "temperature_of", lambda *_: TEMPERATURE)


def call(run, to):
    return cli.call(publish.Options, publish.main, ["--run", str(run.path), "--to", str(to)])


def published(run, to):
    assert call(run, to) == 0
    return to


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_it_reads_the_same_and_holds_weights_alone(tmp_path, monkeypatch, ema_decay):
    config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(ema_decay=ema_decay))
    run, _, _ = save_run(tmp_path, config)
    monkeypatch.chdir(tmp_path)
    to = published(run, tmp_path / "new/weights")
    images = random_split(5).images
    ours, theirs = Reader(str(to)), Reader(str(run.path))
    for scaled, plain in zip(ours.logits(images), theirs.logits(images), strict=True):
        np.testing.assert_allclose(scaled, plain / TEMPERATURE, rtol=1e-4, atol=1e-5)
    facts = RunFolder(str(to)).facts()["published"]
    assert (facts["run"], facts["step"], facts["temperature"]) == ("tiny", 7, TEMPERATURE)
    validation = arrays.load_split(tmp_path / "data", "validation")
    loss = losses.cross_entropy(ours.logits(validation.images), validation.labels, LossConfig())
    with Checkpoints(str(to / "steps")) as checkpoints:  # of these weights, not of the run's
        assert checkpoints.validation(7)["loss"] == pytest.approx(float(loss.mean()), rel=1e-4)
    saved = json.loads((to / "config.json").read_text())
    assert (saved["name"], saved["runs_dir"]) == ("weights", "checkpoints")
    texts = [path.read_text() for path in to.rglob("commit_success.txt")]
    assert not [text for text in texts if str(tmp_path) in text]
    assert [path.name for path in to.parent.iterdir()] == ["weights"]

    def size(folder):
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())

    assert size(to) < size(run.path)


def test_weights_trained_in_bfloat16_read_in_float32(tmp_path):
    model = dataclasses.replace(CONFIG.model, compute_dtype="bfloat16")
    run, _, _ = save_run(tmp_path, dataclasses.replace(CONFIG, model=model))
    ours = Reader(str(published(run, tmp_path / "weights")))
    precise = Reader(str(run.path), is_float32=True)
    images = random_split(5).images
    assert ours.config.model.compute_dtype == "float32"
    scaled, plain = ours.logits(images).length * TEMPERATURE, precise.logits(images).length
    np.testing.assert_allclose(scaled, plain, rtol=1e-4, atol=1e-5)


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch, capsys):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    run, _, _ = save_run(tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(Checkpoints, "_write", full_disk)
    assert call(run, tmp_path / "weights") == 1
    assert "No space left" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_step_that_has_learned_nothing_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibration, "temperature_of", REAL_TEMPERATURE_OF)
    run, _, _ = save_run(tmp_path)
    assert call(run, tmp_path / "weights") == 1
    assert "no temperature calibrates this step" in capsys.readouterr().err
    assert not (tmp_path / "weights").exists()


def test_a_folder_that_cannot_be_written_is_named_before_the_work(tmp_path, capsys):
    run = RunFolder("nowhere")
    for to in (tmp_path, Path("/proc/weights")):  # one that exists, one that cannot be made
        assert call(run, to) == 1
        assert f"error: {to}: " in capsys.readouterr().err


def test_it_averages_the_weights_of_two_runs(tmp_path, monkeypatch):
    run, _, _ = save_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    first = published(run, tmp_path / "first")
    arguments = f"--run {run.path} --average {first} --share 0.25 --temperature 2 --to both"
    assert cli.call(publish.Options, publish.main, arguments.split()) == 0
    plain, halved, both = (Reader(str(one)).variables for one in (run.path, first, "both"))
    bias = [one["params"]["length"]["bias"] for one in (plain, halved, both)]
    np.testing.assert_allclose(bias[2], (0.25 * bias[0] + 0.75 * bias[1]) / 2, rtol=1e-6)
