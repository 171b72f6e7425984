"""Weights of a saved step as a small run of their own."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny import CONFIG, prepare, random_split, save_run

from svhn_jax import publish
from svhn_jax.config import DataConfig, LossConfig, OptimizerConfig
from svhn_jax.data import arrays
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.inference import calibration, evaluation
from svhn_jax.inference.reader import Reader
from svhn_jax.model import losses
from svhn_jax.options import Evaluate, Processes
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.training.setup import open_checkpoints
from svhn_jax.training.setup import prepare as prepare_run

TEMPERATURE = 0.8  # the weights of the tests are random, and no temperature calibrates them


def published(monkeypatch, run, to):
    monkeypatch.setattr(calibration, "temperature_of", lambda *_: TEMPERATURE)
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
    for scaled, plain in zip(ours.logits(images), theirs.logits(images), strict=True):
        np.testing.assert_allclose(scaled, plain / TEMPERATURE, rtol=1e-4, atol=1e-5)
    with Checkpoints(str(to / "steps")) as checkpoints:
        metadata, metrics = checkpoints.metadata(7), checkpoints.validation(7)
    assert metadata["published"]["temperature"] == TEMPERATURE
    assert metadata.get("versions") is None  # nobody is told that theirs are others
    validation = arrays.load_split(tmp_path / "data", "validation")
    assert metrics["examples"] == 4
    loss = losses.cross_entropy(ours.logits(validation.images), validation.labels, LossConfig())
    assert metrics["loss"] == pytest.approx(
        float(loss.mean()), rel=1e-4
    )  # of the published weights, not of the run's
    sizes = [
        sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        for folder in (to, run.path)
    ]
    assert sizes[0] < sizes[1]
    markers = [path.read_text() for path in to.rglob("commit_success.txt")]
    assert set(markers) == {
        "Checkpoint commit was successful\n"
    }  # Orbax writes the path of the folder
    saved = json.loads((to / "config.json").read_text())
    assert (saved["name"], saved["runs_dir"]) == ("weights", "checkpoints")


@pytest.mark.parametrize("changed", [0, 1])
def test_a_temperature_that_changes_predictions_is_a_warning(
    tmp_path, monkeypatch, capsys, changed
):
    run, _, _ = save_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    calibrate = calibration.calibrate
    monkeypatch.setattr(
        calibration, "calibrate", lambda *given: calibrate(*given)._replace(changed=changed)
    )
    published(monkeypatch, run, tmp_path / "weights")
    assert (
        "warning: the temperature changes 1 of 4 predictions" in capsys.readouterr().out
    ) == bool(changed)


def test_weights_trained_in_bfloat16_read_in_float32(tmp_path, monkeypatch):
    model = dataclasses.replace(CONFIG.model, compute_dtype="bfloat16")
    run, _, _ = save_run(tmp_path, dataclasses.replace(CONFIG, model=model))
    monkeypatch.chdir(tmp_path)
    images = random_split(5).images
    ours, precise = (
        Reader(str(published(monkeypatch, run, tmp_path / "weights"))),
        Reader(str(run.path), is_float32=True),
    )
    assert ours.config.model == dataclasses.replace(model, compute_dtype="float32")
    np.testing.assert_allclose(
        ours.logits(images).length * TEMPERATURE,
        precise.logits(images).length,
        rtol=1e-4,
        atol=1e-5,
    )
    assert (
        np.abs(Reader(str(run.path)).logits(images).length - precise.logits(images).length).max()
        > 1e-4
    )


def test_few_validation_photos_are_a_warning(tmp_path, monkeypatch, capsys):
    run, _, _ = save_run(tmp_path)
    published(monkeypatch, run, tmp_path / "weights")
    assert (
        "the temperature is fitted on 4 photos; with fewer than 200 it is uncertain"
        in capsys.readouterr().out
    )
    monkeypatch.setattr(publish, "FEW_PHOTOS", 4)
    published(monkeypatch, run, tmp_path / "more")
    assert "uncertain" not in capsys.readouterr().out


def test_what_was_published_is_not_trained_on(tmp_path, monkeypatch):
    run, config, _ = save_run(tmp_path)
    to = published(monkeypatch, run, tmp_path / "weights")
    prepare(tmp_path / "more", 32, validation=4)
    config = dataclasses.replace(
        config, name="weights", runs_dir=str(tmp_path), data=DataConfig(dir=str(tmp_path / "more"))
    )
    setup = prepare_run(config)
    with pytest.raises(
        InputError, match="published weights, which cannot be trained on; give another --name"
    ):
        open_checkpoints(Console(), setup)
    setup.run.close()
    assert (to / "steps/7").is_dir()


def no_state(to):
    shutil.rmtree(to / "steps/7/state")


def no_config(to):
    (to / "config.json").unlink()


def other_config(to):
    path = to / "config.json"
    path.write_text(path.read_text().replace('"crop": 20', '"crop": 21'))


def half_of_data(to):
    path = to / "data.json"
    path.write_text(path.read_text()[:100])


def other_metrics(to):
    path = to / "steps/7/metrics/metrics"
    path.write_text(path.read_text().replace("4", "5"))


def state_and_metadata(to):
    no_state(to)
    path = to / "steps/7/metadata/metadata"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


@pytest.mark.parametrize(
    "damage",
    [no_state, no_config, other_config, half_of_data, other_metrics, state_and_metadata],
    ids=lambda f: f.__name__,
)
def test_damaged_weights_are_to_be_fetched_again(tmp_path, monkeypatch, damage, compiled):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled))
    run, _, _ = save_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    to = published(monkeypatch, run, tmp_path / "weights")
    damage(to)
    evaluate = Evaluate(
        run=str(to), step="best", data=str(tmp_path / "data"), processes=Processes(processes=1)
    )
    for use in (lambda: Reader(str(to)), lambda: evaluation.run(evaluate)):
        with pytest.raises(
            (InputError, CheckpointError), match=r"; these are published weights: fetch them again"
        ) as caught:
            use()
        assert "train" not in str(caught.value)


def test_weights_that_cannot_be_written_are_told_with_the_folder(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    run, _, _ = save_run(tmp_path)
    monkeypatch.setattr(Checkpoints, "_write", full_disk)
    with pytest.raises(
        CheckpointError, match=r"weights: the weights could not be written; .*No space left"
    ) as caught:
        published(monkeypatch, run, tmp_path / "weights")
    assert "partial" not in str(caught.value)
    assert not (tmp_path / "weights").exists()


def test_what_a_killed_command_left_is_not_published(tmp_path, monkeypatch):
    run, _, _ = save_run(tmp_path)
    (tmp_path / ".weights.partial/steps/9/state").mkdir(parents=True)
    to = published(monkeypatch, run, tmp_path / "weights")
    assert [path.name for path in (to / "steps").iterdir()] == ["7"]


def test_a_step_that_has_learned_nothing_is_refused(tmp_path, monkeypatch):
    run, _, _ = save_run(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["publish", "--run", str(run.path), "--to", str(tmp_path / "weights")]
    )
    with pytest.raises(InputError, match="no temperature calibrates this step"):
        publish.main()
    assert not (tmp_path / "weights").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["publish", "--run", "r", "--to", str(tmp_path)])
    with pytest.raises(InputError, match="exists already"):
        publish.main()
