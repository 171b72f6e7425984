"""Training fed in different ways, and its benchmark, run as a user runs them, on random images."""

import dataclasses
import json
import re
import subprocess
import sys

import pytest
from tiny import CONFIG, prepare, write_config

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
COUNT_COMPILATIONS = """
import sys, jax
from svhn_jax import summaries, train
compiled, at_validation = [], []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if name.endswith("backend_compile_duration") else None
)
write = summaries.Summaries.write_validation
def noting(self, step, *rest):
    write(self, step, *rest)
    at_validation.append(len(compiled))
summaries.Summaries.write_validation = noting
assert train.main() == 0
print("compiled:", *at_validation, len(compiled))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workplace")
    prepare(folder / "data/tiny", 40, validation=8)
    write_config(folder, dataclasses.replace(CONFIG, num_epochs=10))  # 25 steps
    return folder


def run(folder, env, *command, status=0):
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def train(folder, env, name, *options):
    return run(folder, env, "-m", "svhn_jax.train", "--config", "tiny.py", "--name", name, *options)


def rows_of(folder, name):
    rows = (folder / "checkpoints" / name / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(row).items() if key != "images_per_s"} for row in rows]


def test_a_streamed_run_is_the_resident_one_and_says_so(workplace, one_device_env):
    assert re.search(r"input: +resident: 0\.00 GB on each device", train(workplace, one_device_env, "resident"))
    printed = train(workplace, one_device_env, "streamed", "--data.placement", "streamed")
    assert re.search(r"input: +streamed, as asked for", printed)
    assert rows_of(workplace, "streamed") == rows_of(workplace, "resident")


def test_a_run_of_several_steps_a_dispatch_logs_and_validates_at_the_same_steps(workplace, one_device_env):
    train(workplace, one_device_env, "one")
    train(workplace, one_device_env, "four", "--steps-per-dispatch", "4")
    by_four, one_by_one = rows_of(workplace, "four"), rows_of(workplace, "one")
    assert [(row["step"], row["split"]) for row in by_four] == [(row["step"], row["split"]) for row in one_by_one]
    for row, other in zip(by_four[:4], one_by_one, strict=False):  # later, rounding has grown
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)


@pytest.mark.parametrize("per_dispatch", ["1", "13"])
def test_profile_leaves_a_trace_for_tensorboard_and_for_perfetto(workplace, one_device_env, per_dispatch):
    name = f"profiled-{per_dispatch}"
    options = ("--log-every-steps", "13", "--eval-every-steps", "13", "--steps-per-dispatch", per_dispatch)
    train(workplace, one_device_env, name, "--profile", *options)
    folder = workplace / "checkpoints" / name / "profile"
    assert len(list(folder.rglob("*.xplane.pb"))) == 1
    assert len(list(folder.rglob("perfetto_trace.json.gz"))) == 1


@pytest.mark.parametrize("placement", ["resident", "streamed"])
def test_nothing_is_compiled_after_the_second_validation(workplace, one_device_env, placement):
    command = ("-c", COUNT_COMPILATIONS, "--config", "tiny.py", "--name", placement + "-counted")
    env = one_device_env | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    printed = run(workplace, env, *command, "--data.placement", placement)
    counts = [int(count) for count in printed.rpartition("compiled:")[2].split()]
    assert len(counts) == 10  # validations at steps 3, 6 ... 24 and 25, and the end
    assert counts[0] > 0
    assert counts[1:] == [counts[1]] * 9


def test_the_benchmark_measures_what_it_says(workplace, one_device_env):
    env = one_device_env | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "NPROC": "8"}
    command = (
        "-m",
        "svhn_jax.benchmark",
        "--config",
        "tiny.py",
        "--rounds",
        "2",
        "--seconds",
        "0.05",
        "--images",
        "64",
    )
    printed = run(workplace, env, *command, "--image.crop", "54").splitlines()
    figures = json.loads(printed[-1])
    assert any("train, streamed" in line for line in printed)
    rates = figures["images_per_s"]
    assert set(rates) == {
        "train, step alone", "train, resident", "train, streamed", "evaluate, step alone", "evaluate"
    }  # fmt: skip
    assert all(0 < rate["low"] <= rate["median"] <= rate["high"] and rate["n"] == 2 for rate in rates.values())
    assert set(figures["train_images_per_s_by_devices"]) == {"1", "2"}
    assert figures["first_step_s"]["warm"]["median"] > 0
    assert figures["device"] == "2 x cpu"
    macs, rate = figures["million_macs_an_image"], rates["train, step alone"]["median"]
    assert figures["train_tflops"]["median"] == pytest.approx(6 * macs * rate / 1e6, rel=0.1)
    error = run(workplace, env, *command, "--images", "3", status=1)
    assert error.startswith("error: --images must be at least batch_size")
    assert error.count("\n") == 1
