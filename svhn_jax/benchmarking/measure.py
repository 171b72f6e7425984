"""How fast a configuration trains and evaluates: what python -m svhn_jax.benchmark does."""

import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh
from rich.console import Console
from rich.table import Table

from svhn_jax import output
from svhn_jax.benchmarking import timing
from svhn_jax.benchmarking.timing import Spread
from svhn_jax.benchmarking.workload import SIDE, BenchmarkLoop, random_data
from svhn_jax.config import AugmentConfig, Config
from svhn_jax.data.arrays import Split
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError
from svhn_jax.model import counting, inputs, networks
from svhn_jax.model.layers import AXIS
from svhn_jax.options import Benchmark
from svhn_jax.training import devices
from svhn_jax.training import state as states
from svhn_jax.training.dataset import TrainingSet
from svhn_jax.training.evaluator import compile_eval_step, score_split
from svhn_jax.training.reader_task import ReaderTask

STARTS = 2
CEILING, SHARE = "matmul_tflops", "share_of_matmul"
ALONE, UNCHANGED = "train, step alone", "train, step alone, no augmentation"
FED = ("train, resident", "train, streamed")


def run(options: Benchmark, arguments: list[str]) -> int:
    """Measures, and prints a table or JSON. Returns the exit status.

    Args:
      arguments: the command line; further processes are started with it.

    Raises:
      InputError: the configuration does not suit the images or the devices.
    """
    config, console = options.settings, output.console(options.output)
    _check(options)
    if options.only_first_step:
        return _first_step(config, options.images)
    # Before this process takes the devices: another could not have a TPU, or a GPU's memory, beside it.
    starts = _starts(arguments) if options.starts else {}
    mesh = devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    if min(config.eval_batch_size, options.images) < mesh.size:
        raise InputError(
            f"eval_batch_size is {config.eval_batch_size}; it must be at least the {mesh.size} devices"
        )
    with tempfile.TemporaryDirectory() as folder:
        data = random_data(options.images, Path(folder), config.model.max_digits)
        figures = {
            "config": str(options.config),
            "batch_size": config.batch_size,
            "images": options.images,
        }
        figures |= _figures(config, data, mesh, options) | {"first_step_s": starts}
    _print_table(console, figures)
    output.print_json(options.output, figures | timing.hardware(mesh))
    return 0


def _check(options: Benchmark) -> None:
    if options.images < options.settings.batch_size:
        raise options.mistake("images", f"at least batch_size, {options.settings.batch_size}")
    if options.settings.image.crop > SIDE:
        raise InputError(
            f"image.crop is {options.settings.image.crop}, more than the {SIDE} pixels of the images here; "
            f"give --image.crop {SIDE} or less"
        )


def _figures(config: Config, data: TrainingSet, mesh: Mesh, options: Benchmark) -> dict[str, Any]:
    """All that is measured in this process; of more than one run a Spread as a dict."""
    results = _rates(config, data, mesh, options.seconds, options.rounds)
    macs = counting.count_macs(networks.build(config.model), inputs.input_shape(config.image))
    tflops = [
        6 * macs * rate / 1e12 for rate in results[ALONE]
    ]  # forwards, and two gradients; two operations each
    results[SHARE] = [one / ceiling for one, ceiling in zip(tflops, results[CEILING], strict=True)]
    spreads = {name: timing.spread(values)._asdict() for name, values in results.items()}
    ratios = {name: timing.ratios(results, name, ALONE)._asdict() for name in (*FED, UNCHANGED)}
    by_devices = _by_devices(config, data, options.seconds, options.rounds)
    return {
        "images_per_s": {
            name: rate for name, rate in spreads.items() if name not in (SHARE, CEILING)
        },
        "with_input_path_over_step_alone": ratios,
        "million_macs_an_image": round(macs / 1e6, 1),
        "train_tflops": timing.spread(tflops)._asdict(),
        CEILING: spreads[CEILING],
        SHARE: spreads[SHARE],
        "dispatch_us": _dispatch_us(config, mesh, options.rounds)._asdict(),
        "train_images_per_s_by_devices": {
            n: timing.spread(values)._asdict() for n, values in by_devices.items()
        },
        "peak_memory_gb_of_this_benchmark": round(peak_memory(mesh) / 1e9, 2),
    }


def _rates(
    config: Config, data: TrainingSet, mesh: Mesh, run_s: float, rounds: int
) -> dict[str, list[float]]:
    """Images a second of training and evaluation, and TFLOP/s of matrix products, round by round."""
    resident, streamed = (
        BenchmarkLoop(config, data, mesh),
        BenchmarkLoop(config, data, mesh, is_streamed=True),
    )
    unchanged = BenchmarkLoop(
        without_augmentation(config), data, mesh, is_streamed=True
    )  # one set on the devices is enough
    count = _steps_in(run_s, resident)
    images = count * config.batch_size
    variables = jax.tree.map(
        jnp.copy, resident.state.eval_variables()
    )  # the state itself is donated to each step
    split = Split(
        data.parts[0].reshape(-1, SIDE, SIDE, 3),
        data.labels,
        np.array([], "S"),
        "random",
        CropRule(SIDE, 0.3),
    )
    eval_step = compile_eval_step(config, networks.build(config.model), mesh)
    size = min(config.eval_batch_size, len(data.labels)) // mesh.size * mesh.size
    batch = (np.asarray(split.images[:size]), data.labels[:size], np.ones(size, np.int32))
    placed = devices.put(batch, devices.sharded(mesh))
    some = split._replace(
        images=split.images[: 3 * images], labels=data.labels[: 3 * images]
    )  # forward is a third

    def evaluate_alone() -> Any:
        return [eval_step(variables, *placed) for _ in range(-(-len(some.images) // size))]

    def evaluate() -> Any:
        return score_split(eval_step, variables, some, config.eval_batch_size, mesh)[1]

    runs: dict[str, Callable[[], float]] = {
        ALONE: lambda: images / timing.seconds(resident.step_only, count),
        UNCHANGED: lambda: images / timing.seconds(unchanged.step_only, count),
        "train, resident": lambda: images / timing.seconds(resident.end_to_end, count),
        "train, streamed": lambda: images / timing.seconds(streamed.end_to_end, count),
        "evaluate, step alone": lambda: (
            -(-len(some.images) // size) * size / timing.seconds(evaluate_alone)
        ),
        "evaluate": lambda: len(some.images) / timing.seconds(evaluate),
        CEILING: timing.matmul_run(jnp.dtype(config.model.compute_dtype), mesh),
    }
    return timing.in_turn(runs, rounds)


def without_augmentation(config: Config) -> Config:
    """The same, of middle windows without any random change."""
    none: dict[str, Any] = {
        name: type(value)(0) for name, value in dataclasses.asdict(config.augment).items()
    }
    return dataclasses.replace(config, augment=AugmentConfig(**none))


def _steps_in(run_s: float, loop: BenchmarkLoop) -> int:
    """How many steps take about so long."""
    count = 1
    loop.step_only(count)
    while (taken_s := timing.seconds(loop.step_only, count)) < 0.1 * run_s:
        count *= 2
    return max(1, round(run_s / taken_s * count))


def _by_devices(
    config: Config, data: TrainingSet, run_s: float, rounds: int
) -> dict[int, list[float]]:
    """Images a second of training with the first 1, 2, 4 ... devices and with all, the global batch the same."""
    counts = sorted({2**n for n in range(jax.device_count().bit_length())} | {jax.device_count()})
    counts = [count for count in counts if config.batch_size % count == 0]
    if len(counts) < 2:
        return {}
    loops = {}
    for count in counts:
        mesh = jax.make_mesh(
            (count,), (AXIS,), devices=jax.devices()[:count], axis_types=(AxisType.Auto,)
        )
        loops[count] = BenchmarkLoop(config, data, mesh)
    number = _steps_in(run_s, loops[1])
    images = number * config.batch_size
    runs = {
        str(count): lambda loop=loop: images / timing.seconds(loop.end_to_end, number)
        for count, loop in loops.items()
    }
    return {int(name): values for name, values in timing.in_turn(runs, rounds).items()}


def _dispatch_us(config: Config, mesh: Mesh, rounds: int, count: int = 200) -> Spread:
    """Microseconds from one dispatch to the next of a step that does nothing but count, with the state of a real one."""
    task = ReaderTask(config)
    state = jax.jit(lambda: states.create(task), out_shardings=devices.replicated(mesh))()
    everywhere = jax.sharding.PartitionSpec()
    count_only = jax.shard_map(
        lambda state: state.replace(step=state.step + 1),
        mesh=mesh,
        in_specs=everywhere,
        out_specs=everywhere,
    )
    step = jax.jit(count_only, donate_argnums=0)

    def run() -> jax.Array:
        nonlocal state
        for _ in range(count):
            state = step(state)
        return state.step

    taken = timing.in_turn({"dispatch": lambda: timing.seconds(run)}, rounds)["dispatch"]
    return timing.spread([1e6 * one / count for one in taken])


def peak_memory(mesh: Mesh) -> int:
    """Bytes: of a device where it says, otherwise of this process."""
    stats = mesh.devices.flat[0].memory_stats()
    return (
        stats["peak_bytes_in_use"]
        if stats
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


def _first_step(config: Config, images: int) -> int:
    """What `_starts` times from outside."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        data = random_data(images, Path(folder), config.model.max_digits)
        print(time.perf_counter() - start)
        mesh = devices.make_mesh()
        devices.check_batch_size("batch_size", config.batch_size, mesh)
        BenchmarkLoop(config, data, mesh).end_to_end(1)
    return 0


def _starts(arguments: list[str]) -> dict[str, Any]:
    """Seconds from the start of a process to the end of its first step; making the data is not counted."""
    command = [sys.executable, "-m", "svhn_jax.benchmark", *arguments, "--only-first-step"]
    times: dict[str, list[float]] = {"cold": [], "warm": []}
    with output.progress("first steps", STARTS * len(times), "starts") as advance:
        for _ in range(STARTS):
            with tempfile.TemporaryDirectory() as cache:
                env = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
                for name in times:
                    times[name].append(_time_start(command, env))
                    advance(1)
    return {name: timing.spread(values)._asdict() for name, values in times.items()}


def _time_start(command: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    taken_s = time.perf_counter() - start
    if finished.returncode:
        said = finished.stderr.strip().splitlines() or [
            f"the first step failed with status {finished.returncode}"
        ]
        raise InputError(said[-1].removeprefix("error: "))
    return taken_s - float(finished.stdout.split()[-1])


def _print_table(console: Console, figures: dict[str, Any]) -> None:
    table = Table(title=f"{figures['config']}, batch {figures['batch_size']}")
    table.add_column("measurement")
    table.add_column("median (least to greatest)", justify="right")
    table.add_column("unit")
    for name, rate in figures["images_per_s"].items():
        table.add_row(name, str(Spread(**rate)), "images/s")
        if ratio := figures["with_input_path_over_step_alone"].get(name):
            table.add_row("  to the step alone", str(Spread(**ratio)), "ratio")
    for count, rate in figures["train_images_per_s_by_devices"].items():
        table.add_row(f"train, {count} device(s)", str(Spread(**rate)), "images/s")
    table.add_row("arithmetic of training", str(Spread(**figures["train_tflops"])), "TFLOP/s")
    table.add_row("matrix products", str(Spread(**figures[CEILING])), "TFLOP/s")
    table.add_row("  training to these", str(Spread(**figures[SHARE])), "ratio")
    table.add_row("dispatch of an empty step", str(Spread(**figures["dispatch_us"])), "µs")
    table.add_row("peak memory", f"{figures['peak_memory_gb_of_this_benchmark']:.2f}", "GB")
    for name, taken in figures["first_step_s"].items():
        table.add_row(f"process start to first step, {name}", str(Spread(**taken)), "s")
    console.print(table)
