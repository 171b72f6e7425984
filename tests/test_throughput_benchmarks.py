"""The scripts of benchmarks/ that measure speed, as far as they run in little time and without PyTorch."""

import dataclasses
import importlib
import io
import json
import os
import subprocess
import sys
import tarfile

import jax.numpy as jnp
import pytest
import tyro
from archives import REPOSITORY, assert_one_error_line, run_python
from rich.console import Console
from tiny import CONFIG, save_run

from svhn_jax import command_line, config_files, labels
from svhn_jax.benchmarking import measure
from svhn_jax.config import AugmentConfig, Config, ImageConfig, ModelConfig
from svhn_jax.errors import InputError
from svhn_jax.options import Benchmark

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_without_pytorch_the_comparison_says_how_to_get_it(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    script = BENCHMARKS / "against_pytorch.py"
    finished = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
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
    line = (
        "[02:25:11] Step:   452/900, validation: Loss: 1.51234, Seq Acc: 0.6734, Dig Acc: 0.7750\n"
    )
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


@pytest.mark.parametrize("max_digits", [1, 5, 8])
def test_random_data_have_labels_of_the_configurations_max_digits(tmp_path, max_digits):
    data = importlib.import_module("svhn_jax.benchmarking.workload").random_data(
        16, tmp_path, max_digits
    )
    assert data.labels.shape == (16, 1 + max_digits)
    assert {len(labels.decode(label).strip("+")) for label in data.labels} == {min(2, max_digits)}


@pytest.mark.parametrize("architecture", ["resnet", "seed", "potterhsu"])
def test_pytorchs_networks_have_a_head_for_each_digit(module, architecture):
    torch = pytest.importorskip("torch")
    config = ModelConfig(architecture=architecture, width=8, max_digits=8)
    length, digits = module("pytorch_networks").build(config, 54, 3)(torch.zeros(2, 3, 54, 54))
    assert (tuple(length.shape), tuple(digits.shape)) == ((2, 10), (2, 8, 11))


@pytest.fixture
def comparison(module, tmp_path, monkeypatch):
    """A function that makes the comparison of one configuration on batches of 8, on one CPU device."""
    pytest.importorskip("torch")
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv(
        "OMP_NUM_THREADS", "1"
    )  # PyTorch's threads wait for one another on a busy machine
    against, workload = (
        module("against_pytorch"),
        importlib.import_module("svhn_jax.benchmarking.workload"),
    )
    workload.random_data(16, tmp_path)

    def compare(name):
        options = against.Options(REPOSITORY / f"configs/{name}.py", batch_size=8, workers=1)
        return against.Comparison(options, "cpu", str(tmp_path), Console(file=io.StringIO()))

    return compare


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "real", "full", "seed", "potterhsu"])
def test_the_losses_of_both_sides_agree_and_fall(module, comparison, name):
    against = module("against_pytorch")
    losses = against.check_same(comparison(name))
    assert all(len(side) == 3 and side[2] < side[0] for side in losses.values())
    assert against.greatest_difference(losses) < against.SAME


@pytest.mark.slow
def test_both_sides_train_alone_and_end_to_end_and_a_mode_that_takes_too_long_is_left_out(
    module, comparison
):
    against = module("against_pytorch")
    with comparison("real") as both:
        against.check_same(both)
        both.start(against.OURS, "peer_svhn_jax.py", both.config)
        both.start("PyTorch, eager", "peer_pytorch.py", both.config, mode="eager")
        ours, theirs = (worker.metadata["params"] for worker in both.workers.values())
        assert ours == theirs
        for name, what in (
            (against.OURS, "run"), (against.OURS, "fed"), ("PyTorch, eager", "run"), ("PyTorch, eager", "fed"),
            ("PyTorch, eager", "resident"),
        ):  # fmt: skip
            assert both.workers[name].do(what, 1) > 0
        assert all(worker.do("memory") > 0.01 for worker in both.workers.values())
        object.__setattr__(both.options, "limit_s", 1e-3)
        assert not both.tried("PyTorch, eager", "run")
        assert "no answer" in both.left_out["PyTorch, eager, run"]


def test_what_is_compared_is_the_configuration_with_random_crops_alone(module):
    against = module("against_pytorch")
    base = config_files.load(REPOSITORY / "configs/full.py")
    config = against.compared_config(base, against.Options(batch_size=2048), "cuda")
    assert (config.batch_size, config.model.compute_dtype, config.augment) == (
        2048,
        "bfloat16",
        against.CROP_ONLY,
    )
    assert config.augment.random_crop
    assert (config.model.width, config.loss, config.optimizer.ema_decay) == (
        192,
        base.loss,
        base.optimizer.ema_decay,
    )
    assert (
        against.compared_config(
            base, against.Options(precision="float32"), "cuda"
        ).model.compute_dtype
        == "float32"
    )
    assert against.compared_config(base, against.Options(), "cpu").batch_size == 64


def test_a_side_that_dies_or_hangs_is_an_error_of_one_line(module, tmp_path):
    peer = module("peer_worker")
    (tmp_path / "hangs.py").write_text(
        "import sys, time; sys.stdin.readline(); print('{}', flush=True); time.sleep(60)"
    )
    (tmp_path / "dies.py").write_text("raise SystemExit(3)")
    with pytest.raises(InputError, match="start: a side of the comparison ended with status 3"):
        peer.Worker(tmp_path / "dies.py", {})
    with (
        peer.Worker(tmp_path / "hangs.py", {}) as worker,
        pytest.raises(InputError, match=r"run: no answer in 0 s"),
    ):
        worker.do("run", limit_s=0.01)


def test_clocks_and_power_are_those_of_the_samples_in_which_the_gpu_was_busy(module):
    text = "300, 1593, 70.1, 30, 4, 0\n1980, 3201, 650.0, 60, 9000, 99\n1900, 3201, [N/A], 62, 9100, 98\nFailed\n"
    found = module("gpu_monitor").summarize(text)
    assert found["samples"] == 2
    assert found["sm_clock_mhz"] == {"median": 1940, "low": 1900, "high": 1980}
    assert found["power_w"] == {"median": 650, "low": 650, "high": 650}
    assert module("gpu_monitor").summarize("") == {}


def test_without_nvidia_smi_nothing_is_said_of_the_gpu(module, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with module("gpu_monitor").GpuMonitor() as monitor:
        pass
    assert monitor.summary() == {}


def test_the_best_batch_size_of_each_side_counts(tmp_path):
    for batch, ours, theirs in ((512, 90.0, 60.0), (1024, 80.0, 50.0), (2048, 70.0, 100.0)):
        rates = {
            "svhn_jax": ours,
            "eager": theirs,
            "svhn_jax, end to end": ours / 2,
            "loader": theirs / 4,
        }
        figures = {
            "config": "full.py", "batch_size": batch, "pytorch": "eager", "pytorch_end_to_end": "loader",
            "images_per_s": {name: {"median": rate} for name, rate in rates.items()},
        }  # fmt: skip
        (tmp_path / f"{batch}.json").write_text(f"a table\n{json.dumps(figures)}\n")
    finished = run_python(BENCHMARKS / "best_of.py", *sorted(map(str, tmp_path.iterdir())))
    assert finished.stdout.splitlines() == [
        "full.py, step alone: svhn_jax 90 images/s (batch 512), eager 100 (batch 2048): 0.90",
        "full.py, end to end: svhn_jax 45 images/s (batch 512), loader 25 (batch 2048): 1.80",
    ]
    (tmp_path / "empty.json").touch()
    assert_one_error_line(run_python(BENCHMARKS / "best_of.py", tmp_path / "empty.json"))


def on_gpu(python, *arguments, **env):
    return subprocess.run(
        [BENCHMARKS / "on_gpu.sh", *arguments],
        env=os.environ | {"PYTHON": str(python)} | env,
        capture_output=True,
        text=True,
    )


def test_the_roofline_counts_the_bytes_and_operations_of_a_small_network_by_hand(module):
    roofline = module("roofline")
    config = dataclasses.replace(
        CONFIG,
        image=ImageConfig(crop=8),
        model=dataclasses.replace(CONFIG.model, width=4, blocks=(1,)),
    )
    one = roofline.cost(config, batch_size=10)
    stem, conv = (
        (4 * 48, 4 * 4),
        (4 * 4, 4 * 4),
    )  # values in and out: 2 x 2 positions of 48 and of 4 channels
    query, weights, heads = (4 * 4, 4 * 6), (4 * 6, 6 * 4), [(4, 7), *[(4, 11)] * 5]
    assert one.product_bytes == 6 * sum(map(sum, [stem, conv, conv, query, weights, *heads]))
    assert one.elementwise_bytes == 2 * (8 * 3 * 16 + 4 * 16)
    params = 9 * 48 * 4 + 2 * 9 * 4 * 4 + 6 * 4 + (4 + 4) * 6 + 4 * (7 + 55) + 7 + 55
    assert one.param_bytes == 4 * 12 * params / 10
    assert one.by_memory < one.by_arithmetic
    assert one.bound <= one.by_memory


@pytest.fixture
def stand_in(tmp_path):
    """A stand-in for Python that writes down the arguments and PYTHONPATH that it is given; and what it wrote."""
    python, commands = tmp_path / "python", tmp_path / "commands"
    python.write_text(f'#!/bin/sh\necho "$PYTHONPATH $*" >> {commands}\necho "{{}}"\n')
    python.chmod(0o755)
    return python, commands


@pytest.mark.parametrize("options", [(), ("--cpu",)])
def test_the_commands_of_the_gpu_script_parse(module, tmp_path, monkeypatch, stand_in, options):
    python, commands = stand_in
    finished = on_gpu(python, *options, "--to", tmp_path / "out", "all", PYTHONPATH="/kept")
    assert finished.returncode == 0, finished
    monkeypatch.chdir(REPOSITORY)
    lines = commands.read_text().splitlines()
    assert len(lines) == len(list((tmp_path / "out").glob("*.tar.gz"))) == 13
    for line in lines:
        path, _, command = line.partition(" ")
        assert path == f"{REPOSITORY}:/kept"
        _, _, arguments = command.partition("-m svhn_jax.benchmark ")
        if arguments:
            monkeypatch.setattr(sys, "argv", ["benchmark", *arguments.split()])
            measure._check(command_line.parse_with_config(Benchmark, "benchmark", ""))
        elif "against_pytorch" in command:
            against = module("against_pytorch")
            given = tyro.cli(against.Options, args=command.split()[1:])
            assert given.config.exists()
            assert given.batch_size == 4 if options else given.batch_size >= 512


def test_the_gpu_script_lists_its_measures_and_refuses_others(tmp_path, stand_in):
    python, commands = stand_in
    listed = on_gpu(python)
    assert listed.returncode == 0
    assert "measures: check potterhsu-512" in listed.stdout
    assert not commands.exists()
    unknown = on_gpu(python, "--to", tmp_path / "out", "nosuch")
    assert unknown.returncode == 1
    assert "nosuch is no measure; there are: check" in unknown.stderr


def test_the_gpu_script_archives_what_failed(tmp_path):
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "a word"\necho "a reason" >&2\ncase "$*" in *check*) ;; *) exit 3 ;; esac\n'
    )
    python.chmod(0o755)
    finished = on_gpu(python, "--cpu", "demo-512", "train-demo", OUT=str(tmp_path / "out"))
    assert finished.returncode == 1
    assert finished.stdout.count("FAILED with status 3") == 2
    with tarfile.open(tmp_path / "out/demo-512.tar.gz") as archive:
        assert archive.extractfile("demo-512/errors.txt").read() == b"a reason\n"
        assert b"--batch-size 4" in archive.extractfile("demo-512/command.txt").read()


@pytest.mark.slow
def test_the_gpu_script_runs_on_a_cpu(tmp_path, one_device_env):
    pytest.importorskip("torch")
    env = one_device_env | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    finished = on_gpu(sys.executable, "--cpu", "--to", tmp_path, "demo-512", "train-demo", **env)
    assert finished.returncode == 0, finished
    for name, key in (("check", "stem_ms"), ("demo-512", "ratio"), ("train-demo", "images_per_s")):
        with tarfile.open(tmp_path / f"{name}.tar.gz") as archive:
            assert json.load(archive.extractfile(f"{name}/result.json"))[key]
            assert (name == "check") or any(
                "after_optimizations" in member for member in archive.getnames()
            )


def test_the_gpu_check_says_what_is_missing(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "PATH": ""}
    script = BENCHMARKS / "gpu_check.py"
    finished = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert finished.returncode == 1
    lines = finished.stderr.splitlines()
    assert lines == [
        "error: driver: nvidia-smi cannot be run (No such file or directory)",
        "error: jax: JAX_PLATFORMS is 'cpu'; unset it",
        "error: torch: ImportError: no torch here",
    ]


def test_exported_files_are_timed_beside_jax(module, tmp_path, monkeypatch, capsys):
    save_run(tmp_path)
    arguments = ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    small = ["--rounds", "2", "--seconds", "0.01", "--batch-sizes", "1", "3"]
    monkeypatch.setattr(sys, "argv", ["exported", *arguments, *small])
    assert module("exported").main() == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    forms = result["forms"]
    assert list(forms) == [
        "JAX",
        "StableHLO",
        *(f"ONNX {p}" for p in ("float32", "float16", "int8")),
    ]
    assert all(row["bytes"] > 1000 for row in forms.values())
    assert all(
        row[f"batch {n}"]["images_per_s"]["n"] == 2 for row in forms.values() for n in (1, 3)
    )
    assert forms["JAX"]["batch 3"]["to_jax"]["median"] == 1
