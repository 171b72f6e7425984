"""The train loop in this process, on all virtual devices, with a run folder of its own for each test."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import pytest
from tiny import CONFIG, prepare

from svhn_jax.config import DataConfig
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.training import compilation, divergence, processes
from svhn_jax.training import run as training_run

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A run of 12 steps that logs every 4 and validates every 6."""
    folder = tmp_path_factory.mktemp("loop")
    prepare(folder / "data", 48, validation=8)
    return dataclasses.replace(
        CONFIG, num_epochs=4, log_every_steps=4, eval_every_steps=6, runs_dir=str(folder / "runs"),
        data=DataConfig(dir=str(folder / "data")),
    )  # fmt: skip


def rows_of(config):
    lines = Path(config.runs_dir, config.name, "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name != "images_per_s"}
        for line in lines
    ]


@pytest.mark.parametrize("stop_at", [3, 6])
def test_the_rows_of_a_stopped_run_are_those_of_one_that_never_stopped(
    config, monkeypatch, stop_at
):
    """Stopped between two log lines, the next line still counts every step since the last."""
    whole, halves = (
        dataclasses.replace(config, name=f"{name}{stop_at}") for name in ("whole", "halves")
    )
    assert training_run._run(whole) == 0
    monkeypatch.setattr(processes, "is_stop_agreed", lambda step: step == stop_at)
    assert training_run._run(halves) == 128 + 15
    monkeypatch.undo()
    assert training_run._run(halves) == 0
    assert rows_of(halves) == rows_of(whole)
    assert [row["examples"] for row in rows_of(whole) if row["split"] == "train"] == [64, 64, 64]


def test_skipped_updates_stop_a_run_only_when_nothing_else_comes(config, monkeypatch):
    optimizer = dataclasses.replace(
        config.optimizer,
        learning_rate=1e30,
        warmup_fraction=0.0,
        skip_nonfinite=True,
        ema_decay=0.0,
    )
    skipping = dataclasses.replace(
        config, name="skipping", optimizer=optimizer, eval_every_steps=100
    )
    with pytest.raises(
        InputError, match=r"in the validation of step 12: the run has diverged"
    ) as error:
        training_run._run(skipping)
    assert "skip-nonfinite" not in str(error.value)
    first, *others = rows_of(skipping)
    assert (first["step"], first["updates_skipped"]) == (4, 3)
    assert [(row["loss"], row["updates_skipped"]) for row in others] == [(None, 4), (None, 4)]
    monkeypatch.setattr(divergence, "MAX_SKIPPED", 6)
    with pytest.raises(
        InputError,
        match=r"the last 7 updates, up to step 8, were all skipped: the run has diverged",
    ):
        training_run._run(dataclasses.replace(skipping, name="stopped"))


@pytest.mark.parametrize("split", ["test", "validation"])
def test_the_command_that_comes_next_scores_a_split_that_is_there(
    config, monkeypatch, capsys, tmp_path, split
):
    setup = dataclasses.replace(config, name=f"next {split}", num_steps=1)
    if split == "test":
        shutil.copytree(config.data.dir, tmp_path / "data")
        manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
        manifest["splits"]["test"] = manifest["splits"]["validation"]
        (tmp_path / "data" / "manifest.json").write_text(json.dumps(manifest))
        setup = dataclasses.replace(setup, data=DataConfig(dir=str(tmp_path / "data")))
    monkeypatch.setattr(training_run, "train", lambda *_: 1)
    assert training_run._run(setup) == 0
    assert f"--split {split} --step best" in capsys.readouterr().out


def test_a_batch_larger_than_an_epoch_is_refused_before_a_run_is_begun(config, tmp_path):
    large = dataclasses.replace(config, batch_size=96, runs_dir=str(tmp_path))
    with pytest.raises(
        InputError,
        match="batch_size is 96, more than the 48 images of an epoch; give --batch-size 48 or",
    ):
        training_run._run(large)
    assert not list(tmp_path.iterdir())


def test_memory_that_does_not_suffice_is_one_line_that_names_the_batch(config, monkeypatch):
    def full(*_):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory allocating 12345 bytes."
        )

    monkeypatch.setattr(training_run.steps, "compile_train_step", lambda *_: full)
    with pytest.raises(
        InputError,
        match=r"out of memory .*; give smaller batches: --batch-size is 16, --eval-batch-size 256$",
    ):
        training_run._run(dataclasses.replace(config, name="full"))


def test_a_full_disk_is_not_called_a_lack_of_memory(config, monkeypatch):
    said = "steps: cannot be written (RESOURCE_EXHAUSTED: No space left on device)"

    def full(*_):
        raise CheckpointError(said)

    monkeypatch.setattr(training_run.steps, "compile_train_step", lambda *_: full)
    with pytest.raises(CheckpointError) as error:
        training_run._run(dataclasses.replace(config, name="disk"))
    assert str(error.value) == said


def test_deterministic_adds_to_the_flags_of_xla(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--one")
    compilation.make_deterministic()
    assert compilation.os.environ["XLA_FLAGS"] == "--one --xla_gpu_deterministic_ops=true"
