"""python -m svhn_jax.benchmark --config configs/NAME.py [overrides]: how fast a configuration trains and evaluates here.

On images of random pixels; needs no data set. Measured in turn, round by round, after a round that
does not count: the train step alone, training with the set resident on the devices and streamed
from disk, evaluation; the dispatch of a step that does nothing; matrix products, the ceiling; and
the time from the start of a process to its first step, with nothing compiled yet and with all.
Prints a table; the last line is JSON. Spreads are the least and the greatest of the rounds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh
from rich.console import Console
from rich.table import Table

from svhn_jax import augment, config_files, feeding, metrics, model, optim, parallel, steps, timing
from svhn_jax import state as states
from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError, run_command
from svhn_jax.model import AXIS
from svhn_jax.scoring import score_split
from svhn_jax.timing import Spread
from svhn_jax.training_data import DataOrder, TrainingSet

SIDE = 64  # of the stored images, pixels
STARTS = 2
STEPS_OF_A_RUN = 10_000  # the schedule's; it does not end while we measure


def main() -> int:
    options, rest = _parse_command_line()
    config = config_files.override(config_files.load(options.config), rest, __doc__ or "")
    mesh = parallel.make_mesh()
    parallel.check_batch_size("batch_size", config.batch_size, mesh)
    if options.images < config.batch_size or options.rounds < 1 or options.seconds <= 0:
        raise InputError("--images must be at least batch_size, --rounds at least 1, --seconds more than 0")
    if options.only_first_step:
        return _first_step(config, options.images, mesh)
    console = Console(highlight=False, markup=False)
    figures: dict[str, Any] = {"config": options.config, "batch_size": config.batch_size, "images": options.images}
    with tempfile.TemporaryDirectory() as folder:
        data = _random_data(options.images, Path(folder))
        network = model.build(config.model)
        macs = model.count_macs(network, augment.input_shape(config.image))
        results = _rates(config, data, mesh, options.seconds, options.rounds)
        ceiling = timing.matmul_flops(jnp.dtype(config.model.compute_dtype), mesh)
        rates = {name: timing.spread(values) for name, values in results.items()}
        figures["images_per_s"] = {name: rate._asdict() for name, rate in rates.items()}
        figures["with_input_path_over_step_alone"] = {
            name: timing.ratios(results, name, "train, step alone")._asdict()
            for name in ("train, resident", "train, streamed")
        }
        flops = 6 * macs * rates["train, step alone"].median
        figures |= {
            "million_macs_an_image": round(macs / 1e6, 1),
            "train_tflops": round(flops / 1e12, 4),
            "matmul_tflops": round(ceiling.median / 1e12, 4),
            "share_of_matmul": round(flops / ceiling.median, 3),
            "dispatch_us": _dispatch_us(config, mesh, options.rounds)._asdict(),
            "peak_memory_gb": round(_peak_memory(mesh) / 1e9, 2),
        }
        figures["train_images_per_s_by_devices"] = {
            count: timing.spread(values)._asdict()
            for count, values in _by_devices(config, data, options.seconds, options.rounds).items()
        }
    figures["first_step_s"] = {} if options.no_starts else _starts(options, rest)
    _print_table(console, figures)
    print(json.dumps(figures | timing.hardware(mesh)))
    return 0


def _parse_command_line() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m svhn_jax.benchmark",
        description=__doc__,
        epilog="Besides these, any field of a configuration: see python -m svhn_jax.train --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", default="configs/demo.py", help="the configuration (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each thing (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run (default: %(default)s)")
    parser.add_argument("--images", type=int, default=20_000, help="in the training set (default: %(default)s)")
    parser.add_argument("--no-starts", action="store_true", help="leave out the time to the first step")
    parser.add_argument("--only-first-step", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_known_args()


def _random_data(count: int, folder: Path) -> TrainingSet:
    """A training set of random pixels, in a file, as prepared arrays are."""
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, SIDE * SIDE * 3))
    for start in range(0, count, 4096):
        part = images[start : start + 4096]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    images.flush()
    labels = np.full((count, 6), 10, np.int32)
    labels[:, 0], labels[:, 1:3] = 2, rng.integers(0, 10, (count, 2))
    return TrainingSet((np.load(folder / "images.npy", mmap_mode="r"),), labels, np.arange(count), "random")


class Trainer:
    """A train step with its state, fed in one of the ways of svhn_jax.feeding: the loop of svhn_jax.train and no more."""

    def __init__(self, config: Config, data: TrainingSet, mesh: Mesh, *, is_streamed: bool = False):
        """The state is made, the set placed; the step is compiled when it first runs."""
        self._config, self._data, self._mesh, self._is_streamed = config, data, mesh, is_streamed
        network, tx = model.build(config.model), optim.optimizer(config.optimizer, STEPS_OF_A_RUN)
        self._step = steps.make_train_step(
            config, network, tx, mesh, steps_per_dispatch=config.steps_per_dispatch, is_streamed=is_streamed
        )
        create = jax.jit(lambda: states.create(config, network, tx), out_shardings=parallel.replicated(mesh))
        self.state = create()
        self._placed = None if is_streamed else feeding.on_devices(data, mesh)
        self._done = 0

    def fed(self, count: int) -> jax.Array:
        """The next `count` steps, each on its own batch."""
        return self._run(self._work(count))

    def alone(self, count: int) -> jax.Array:
        """About `count` steps, all on one batch that is there: no input path."""
        work = next(self._work(self._config.steps_per_dispatch))
        return self._run([work] * -(-count // work.steps))

    def _work(self, count: int) -> Generator[feeding.Work]:
        order = DataOrder(self._data.epoch, self._config.batch_size, self._config.seed)
        per_dispatch = self._config.steps_per_dispatch
        dispatches = feeding.groups(self._done, self._done + count, per_dispatch, ())
        if self._placed is None:
            return feeding.streamed(self._data, order, dispatches, self._mesh, per_dispatch)
        return feeding.resident(self._placed, order, dispatches, self._mesh)

    def _run(self, work_to_do: Iterable[feeding.Work]) -> jax.Array:
        sums = metrics.LateSums()
        for work in work_to_do:
            self.state, step_sums = self._step(self.state, work.images, work.labels, work.plan, work.length)
            sums.add(step_sums, work.steps)
            self._done += work.steps
        sums.take()
        return self.state.step


def _rates(config: Config, data: TrainingSet, mesh: Mesh, run_s: float, rounds: int) -> dict[str, list[float]]:
    """Images a second of training and evaluation, round by round."""
    resident, streamed = Trainer(config, data, mesh), Trainer(config, data, mesh, is_streamed=True)
    count = _steps_in(run_s, resident, config)
    images = count * config.batch_size
    variables = jax.tree.map(jnp.copy, resident.state.eval_variables())  # the state itself is donated to each step
    split = Split(data.parts[0].reshape(-1, SIDE, SIDE, 3), data.labels, np.array([], "S"), "random")
    size = -(-config.eval_batch_size // mesh.size) * mesh.size
    eval_step = steps.make_eval_step(config, model.build(config.model), mesh)
    batch = (np.asarray(split.images[:size]), data.labels[:size], np.ones(size, np.int32))
    placed = parallel.put(batch, parallel.sharded(mesh))
    size = len(batch[0])
    some = Split(split.images[: 3 * images], data.labels[: 3 * images], split.names, "random")  # forward is a third

    def evaluate_alone() -> Any:
        return [eval_step(variables, *placed) for _ in range(-(-len(some.images) // size))]

    def evaluate() -> Any:
        return score_split(eval_step, variables, some, config.eval_batch_size, mesh)[1]

    runs: dict[str, Callable[[], float]] = {
        "train, step alone": lambda: images / timing.seconds(lambda: resident.alone(count)),
        "train, resident": lambda: images / timing.seconds(lambda: resident.fed(count)),
        "train, streamed": lambda: images / timing.seconds(lambda: streamed.fed(count)),
        "evaluate, step alone": lambda: -(-len(some.images) // size) * size / timing.seconds(evaluate_alone),
        "evaluate": lambda: len(some.images) / timing.seconds(evaluate),
    }
    return timing.in_turn(runs, rounds)


def _steps_in(run_s: float, trainer: Trainer, config: Config) -> int:
    """How many steps take about so long; a multiple of steps_per_dispatch."""
    few = 3 * config.steps_per_dispatch
    trainer.alone(few)
    one_s = timing.seconds(lambda: trainer.alone(few)) / few
    return max(1, round(run_s / one_s / config.steps_per_dispatch)) * config.steps_per_dispatch


def _by_devices(config: Config, data: TrainingSet, run_s: float, rounds: int) -> dict[int, list[float]]:
    """Images a second of training with the first 1, 2, 4 ... devices and with all, the global batch the same."""
    counts = sorted(
        {2**n for n in range(jax.device_count().bit_length()) if 2**n <= jax.device_count()} | {jax.device_count()}
    )
    counts = [count for count in counts if config.batch_size % count == 0]
    if len(counts) < 2:
        return {}
    trainers = {}
    for count in counts:
        mesh = jax.make_mesh((count,), (AXIS,), devices=jax.devices()[:count], axis_types=(AxisType.Auto,))
        trainers[count] = Trainer(config, data, mesh)
    number = _steps_in(run_s, trainers[1], config)
    images = number * config.batch_size
    runs = {
        str(count): lambda trainer=trainer: images / timing.seconds(lambda: trainer.fed(number))
        for count, trainer in trainers.items()
    }
    return {int(name): values for name, values in timing.in_turn(runs, rounds).items()}


def _dispatch_us(config: Config, mesh: Mesh, rounds: int, count: int = 200) -> Spread:
    """Microseconds from one dispatch to the next of a step that does nothing but count, with the state of a real one."""
    network, tx = model.build(config.model), optim.optimizer(config.optimizer, STEPS_OF_A_RUN)
    state = jax.jit(lambda: states.create(config, network, tx), out_shardings=parallel.replicated(mesh))()
    everywhere = jax.sharding.PartitionSpec()
    count_only = jax.shard_map(
        lambda state: state.replace(step=state.step + 1), mesh=mesh, in_specs=everywhere, out_specs=everywhere
    )
    step = jax.jit(count_only, donate_argnums=0)

    def run() -> jax.Array:
        nonlocal state
        for _ in range(count):
            state = step(state)
        return state.step

    taken = timing.in_turn({"dispatch": lambda: timing.seconds(run)}, rounds)["dispatch"]
    return timing.spread([1e6 * one / count for one in taken])


def _peak_memory(mesh: Mesh) -> int:
    """Bytes: of a device where it says, otherwise of this process."""
    stats = mesh.devices.flat[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _first_step(config: Config, images: int, mesh: Mesh) -> int:
    """What `_starts` times from outside."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        data = _random_data(images, Path(folder))
        print(time.perf_counter() - start)
        Trainer(config, data, mesh).fed(config.steps_per_dispatch)
    return 0


def _starts(options: argparse.Namespace, rest: list[str]) -> dict[str, Any]:
    """Seconds from the start of a process to the end of its first step; making the data is not counted."""
    command = [sys.executable, "-m", "svhn_jax.benchmark", "--config", options.config, "--only-first-step"]
    command += ["--images", str(options.images), *rest]
    times: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as cache:
            env = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
            for name in times:
                times[name].append(_time_start(command, env))
    return {name: timing.spread(values)._asdict() for name, values in times.items()}


def _time_start(command: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    finished = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    taken_s = time.perf_counter() - start
    if finished.returncode:
        raise InputError(f"the first step of another process failed with status {finished.returncode}: see above")
    return taken_s - float(finished.stdout)


def _print_table(console: Console, figures: dict[str, Any]) -> None:
    table = Table(title=f"{figures['config']}, batch {figures['batch_size']}: median (least to greatest)")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    for name, rate in figures["images_per_s"].items():
        ratio = figures["with_input_path_over_step_alone"].get(name)
        note = f"images/s, {Spread(**ratio)} of the step alone" if ratio else "images/s"
        table.add_row(name, str(Spread(**rate)), note)
    for count, rate in figures["train_images_per_s_by_devices"].items():
        table.add_row(f"train, {count} device(s)", str(Spread(**rate)), "images/s, the same global batch")
    share = figures["share_of_matmul"]
    table.add_row(
        "arithmetic of training", f"{figures['train_tflops']:.3f}", f"TFLOP/s, {share:.0%} of matrix products"
    )
    table.add_row("dispatch", str(Spread(**figures["dispatch_us"])), "microseconds, of a step that does nothing")
    table.add_row("peak memory", f"{figures['peak_memory_gb']:.2f}", "GB")
    for name, taken in figures["first_step_s"].items():
        table.add_row(f"first step, {name}", str(Spread(**taken)), "seconds from the start of the process, data apart")
    console.print(table)


if __name__ == "__main__":
    sys.argv[0] = "python -m svhn_jax.benchmark"
    run_command(main)
