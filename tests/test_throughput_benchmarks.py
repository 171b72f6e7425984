"""The scripts of benchmarks/ that measure speed, as far as they run in little time and without PyTorch."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from archives import REPOSITORY, assert_one_error_line, run_python

from svhn_jax import command_line
from svhn_jax.config import AugmentConfig, Config
from svhn_jax.options import Benchmark

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_without_pytorch_the_comparison_says_how_to_get_it(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError")
    code = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[1:] = []\n"
    script = f"runpy.run_path({str(BENCHMARKS / 'against_pytorch.py')!r}, run_name='__main__')"
    finished = run_python("-c", code + script)
    assert_one_error_line(finished)
    assert "pip install -e '.[pytorch]'" in finished.stderr


def test_a_convolution_is_timed_in_both_forms_and_compared(module):
    convolutions = module("convolutions")
    row = convolutions._measure(6, 48, 48, 5, convolutions.Options(rounds=2, batch_size=2))
    assert row["m"] == 3
    assert all(row[name]["n"] == 2 for name in (*convolutions.FORMS, "ratio"))
    assert 0 < row["difference"] < 1e-4


def test_every_random_change_of_images_is_measured(module):
    measured = {field for change in module("augmentation").CHANGES for field in change}
    assert measured | {"random_crop"} == {item.name for item in dataclasses.fields(AugmentConfig)}


def test_the_change_of_the_input_is_a_share_of_the_input(module):
    images = jnp.full((2, 64, 64, 3), 100, jnp.uint8).at[:, :32].set(120)
    assert module("augmentation")._change(Config(), images, {"brightness": 0.2}, "mean") < 1e-3
    assert module("augmentation")._change(Config(), images, {"channel_gain": 0.15}, "mean") > 0.1


def test_the_race_reads_what_training_prints_and_asks_for_its_data(module, tmp_path):
    line = "[02:25:11] Step:   452/900, validation: Loss: 1.51234, Seq Acc: 0.6734, Dig Acc: 0.7750\n"
    assert module("time_to_accuracy").LINE.search(line).groups() == ("452", "0.6734", "0.7750")
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": ""}
    finished = subprocess.run(
        [sys.executable, BENCHMARKS / "time_to_accuracy.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert_one_error_line(finished)
    assert "data/real" in finished.stderr


@pytest.fixture
def crops(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (8, 64 * 64 * 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(np.array([2, 4, 7, 10, 10, 10], np.int32), (8, 1)))
    return tmp_path


@pytest.mark.slow
def test_the_two_sides_do_the_same_work(module, crops, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.delenv("XLA_FLAGS")  # one device
    against = module("against_pytorch")
    shared = {
        "folder": str(crops), "batch_size": 4, "device": "cpu", "is_bf16": False, "dropout": 0.0, "learning_rate": 0.01,
        "weight_decay": 5e-4, "config": str(REPOSITORY / "configs/potterhsu.py"),
        "convolution": "auto", "is_compiled": False, "workers": 1,
    }  # fmt: skip
    losses = []
    for script in ("peer_svhn_jax.py", "peer_pytorch.py"):
        with against.Worker(script, shared) as worker:
            assert worker.about["params"] == 42_868_734
            losses.append(worker.do("losses"))
            assert worker.do("run", 1) > 0
            assert worker.do("fed", 1) > 0
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-2)


def test_the_commands_of_the_gpu_script_parse(module, tmp_path, monkeypatch):
    """A stand-in for Python writes down the arguments that it is given."""
    python, commands = tmp_path / "python", tmp_path / "commands"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] || echo "$*" >> {commands}\n')
    python.chmod(0o755)
    subprocess.run([BENCHMARKS / "on_gpu.sh", tmp_path / "out"], env=os.environ | {"PYTHON": str(python)}, check=True)
    monkeypatch.chdir(REPOSITORY)
    lines = commands.read_text().splitlines()
    assert len(lines) == 5
    for line in lines:
        _, _, options = line.partition("-m svhn_jax.benchmark ")
        if options:
            monkeypatch.setattr(sys, "argv", ["benchmark", *options.split()])
            command_line.parse_with_config(Benchmark, "benchmark", "")
        else:
            script, *arguments = line.split()
            tyro.cli(module(Path(script).stem).Options, args=arguments)
