"""Training fed in different ways, and its benchmark, run as a user runs them, on random images."""

import dataclasses
import io
import json
import os
import platform
import re
import subprocess
import sys

import jax
import pytest
from rich.console import Console
from tiny import CONFIG, prepare, write_config

from svhn_jax import command_line, options
from svhn_jax.benchmarking import measure, timing
from svhn_jax.config import AugmentConfig
from svhn_jax.errors import InputError
from svhn_jax.training import profiling

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
COUNT_COMPILATIONS = """
import sys, jax
from svhn_jax import train
from svhn_jax.runs import logger
compiled, at_validation = [], []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if name.endswith("backend_compile_duration") else None
)
write = logger.RunLogger.write_validation
def noting(self, step, *rest):
    write(self, step, *rest)
    at_validation.append(len(compiled))
logger.RunLogger.write_validation = noting
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
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def train(folder, env, name, *options):
    return run(folder, env, "-m", "svhn_jax.train", "--config", "tiny.py", "--name", name, *options)


def rows_of(folder, name):
    rows = (folder / "checkpoints" / name / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(row).items() if key != "images_per_s"}
        for row in rows
    ]


@pytest.fixture(scope="module")
def resident(workplace, one_device_env):
    """What a resident run printed, and its rows."""
    printed = train(workplace, one_device_env, "resident")
    return printed, rows_of(workplace, "resident")


def test_a_streamed_run_is_the_resident_one_and_says_so(workplace, one_device_env, resident):
    assert re.search(r"input: +resident: 0\.00 GB on each device", resident[0])
    printed = train(workplace, one_device_env, "streamed", "--data.placement", "streamed")
    assert re.search(r"input: +streamed, as asked for", printed)
    assert rows_of(workplace, "streamed") == resident[1]


@pytest.mark.slow
def test_profile_leaves_a_trace_for_tensorboard_and_for_perfetto(workplace, one_device_env):
    assert "trace: in " in train(workplace, one_device_env, "profiled", "--profile")
    folder = workplace / "checkpoints" / "profiled" / "profile"
    assert len(list(folder.rglob("*.xplane.pb"))) == 1
    assert len(list(folder.rglob("perfetto_trace.json.gz"))) == 1


@pytest.mark.parametrize(
    ("last", "started", "stopped"), [(100, 15, 25), (20, 15, 20), (14, None, None)]
)
def test_ten_steps_are_recorded_or_what_there_is_of_them(monkeypatch, last, started, stopped):
    step, happened = 5, {}
    monkeypatch.setattr(
        jax.profiler, "start_trace", lambda *_, **__: happened.setdefault("started", step)
    )
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: happened.setdefault("stopped", step))
    with profiling.few_steps("folder", step) as profiler:
        while step < last:
            step += 1
            profiler.at(step, ())
    assert (happened.get("started"), happened.get("stopped")) == (started, stopped)


def test_nothing_is_compiled_after_the_second_validation(workplace, one_device_env):
    command = ("-c", COUNT_COMPILATIONS, "--config", "tiny.py", "--name", "counted")
    env = one_device_env | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    printed = run(workplace, env, *command)
    counts = [int(count) for count in printed.rpartition("compiled:")[2].split()]
    assert len(counts) == 10  # validations at steps 3, 6 ... 24 and 25, and the end
    assert counts[0] > 0
    assert counts[1:] == [counts[1]] * 9


@pytest.mark.parametrize(
    ("set_to", "folder"),
    [
        ({"HOME": "{tmp}"}, f"{{tmp}}/.cache/svhn_jax/compiled/{platform.node()}"),
        ({"HOME": "/proc/nowhere"}, "None"),  # nothing can be written there
        ({"HOME": "{tmp}", "JAX_COMPILATION_CACHE_DIR": "{tmp}/own"}, "{tmp}/own"),
    ],
)
def test_compiled_steps_are_kept_at_home_where_that_can_be_or_where_jax_is_told(
    tmp_path, one_device_env, set_to, folder
):
    env = {
        name: value
        for name, value in one_device_env.items()
        if name not in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")
    }
    env |= {name: value.format(tmp=tmp_path) for name, value in set_to.items()}
    code = "import jax; from svhn_jax.training import compilation; compilation.enable_compilation_cache(); print(jax.config.jax_compilation_cache_dir)"
    assert run(tmp_path, env, "-c", code).strip() == folder.format(tmp=tmp_path)


def test_the_benchmark_measures_what_it_says(workplace, one_device_env):
    env = one_device_env | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "NPROC": "8"}
    sizes = (
        "--rounds",
        "2",
        "--seconds",
        "0.05",
        "--images",
        "64",
        "--image.crop",
        "54",
        "--no-starts",
        "--json",
    )
    figures = json.loads(
        run(workplace, env, "-m", "svhn_jax.benchmark", "--config", "tiny.py", *sizes)
    )
    rates = figures["images_per_s"]
    assert set(rates) == {
        "train, step alone", "train, step alone, no augmentation", "train, resident", "train, streamed", "evaluate, step alone", "evaluate"
    }  # fmt: skip
    assert all(
        0 < rate["low"] <= rate["median"] <= rate["high"] and rate["n"] == 2
        for rate in rates.values()
    )
    assert set(figures["train_images_per_s_by_devices"]) == {"1", "2"}
    assert figures["device"] == "2 x cpu"
    macs, rate = figures["million_macs_an_image"], rates["train, step alone"]["median"]
    assert figures["train_tflops"]["median"] == pytest.approx(6 * macs * rate / 1e6, rel=0.1)


def test_a_step_without_augmentation_leaves_no_random_change():
    changed = dataclasses.replace(CONFIG, augment=AugmentConfig(cutout=4, downscale=2.0, noise=0.1))
    config = measure.without_augmentation(changed)
    assert config == dataclasses.replace(changed, augment=config.augment)
    assert not any(dataclasses.asdict(config.augment).values())


def test_the_benchmarks_table_has_a_header_and_fits_80_columns():
    def spread(median):
        return timing.Spread(median, 0.9 * median, 1.1 * median, 3)._asdict()

    figures = {
        "config": "configs/demo.py", "batch_size": 64, "peak_memory_gb_of_this_benchmark": 12.3,
        "images_per_s": {"train, step alone": spread(123_456.0), "train, streamed": spread(101_000.0)},
        "with_input_path_over_step_alone": {"train, streamed": spread(0.8)},
        "train_images_per_s_by_devices": {1: spread(100_000.0), 8: spread(700_000.0)},
        "train_tflops": spread(200.0), "matmul_tflops": spread(700.0), "share_of_matmul": spread(0.3),
        "dispatch_us": spread(120.0), "first_step_s": {"cold": spread(30.0), "warm": spread(10.0)},
    }  # fmt: skip
    console = Console(width=80, file=io.StringIO())
    measure._print_table(console, figures)
    title, rule, header, _, *rows, _ = console.file.getvalue().splitlines()
    assert "configs/demo.py, batch 64" in title
    assert header.split() == [
        "┃",
        "measurement",
        "┃",
        "median",
        "(least",
        "to",
        "greatest)",
        "┃",
        "unit",
        "┃",
    ]
    assert len(rows) == 12  # nothing is wrapped
    assert max(map(len, (rule, *rows))) <= 80


def test_the_start_that_is_timed_is_that_of_the_same_command(monkeypatch, workplace):
    commands = []
    monkeypatch.setattr(
        measure, "_time_start", lambda command, env: commands.append(command) or 1.0
    )
    arguments = ["--config", str(workplace / "tiny.py"), "--images", "64", "--seed", "3"]
    assert measure._starts(arguments)["cold"]["median"] == 1.0
    monkeypatch.setattr(sys, "argv", commands[0][2:])
    started = command_line.parse_with_config(options.Benchmark, "", "")
    assert (started.only_first_step, started.images, started.settings.seed) == (True, 64, 3)


def test_a_batch_larger_than_the_default_number_of_images_can_be_measured_with_more(
    monkeypatch, tmp_path
):
    write_config(tmp_path, dataclasses.replace(CONFIG, batch_size=30_000))
    monkeypatch.setattr(
        sys, "argv", ["benchmark", "--config", str(tmp_path / "tiny.py"), "--images", "30000"]
    )
    options_given = command_line.parse_with_config(options.Benchmark, "", "")
    measure._check(options_given)
    with pytest.raises(
        InputError, match="--images is 20000; it must be at least batch_size, 30000"
    ):
        measure._check(dataclasses.replace(options_given, images=20_000))


def test_the_time_to_the_first_step_leaves_out_the_making_of_the_data(monkeypatch):
    monkeypatch.setattr(measure.time, "perf_counter", iter([100.0, 107.5, 0.0, 0.0]).__next__)
    command = [sys.executable, "-c", "print('a library speaks'); print(2.5)"]
    assert measure._time_start(command, dict(os.environ)) == 5.0
    with pytest.raises(InputError, match="failed with status 3"):
        measure._time_start([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"^what the child said$"):
        measure._time_start(
            [sys.executable, "-c", "raise SystemExit('error: what the child said')"],
            dict(os.environ),
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--images", "3"), "--images is 3; it must be at least batch_size, 16"),
        (("--seconds", "nan"), "--seconds is nan; it must be finite"),
        (("--image.crop", "65"), "image.crop is 65, more than the 64 pixels"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(workplace, one_device_env, options, words):
    error = run(
        workplace,
        one_device_env,
        "-m",
        "svhn_jax.benchmark",
        "--config",
        "tiny.py",
        *options,
        status=1,
    )
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1
