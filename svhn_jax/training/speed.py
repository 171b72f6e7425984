"""To measure training: runs in turn, their median and spread, random data, a loop without logs."""

import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.labels import BLANK
from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs.versions import versions
from svhn_jax.training import devices, steps
from svhn_jax.training.dataset import TrainingSet
from svhn_jax.training.input_pipeline import InputPipeline
from svhn_jax.training.reader_task import ReaderTask

SIDE = 64  # of random images, pixels
STEPS_OF_A_RUN = 10_000  # the schedule does not end while we measure


class Spread(NamedTuple):
    """The median, the least and the greatest of n runs."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 2 if self.median >= 1 else 3
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values), len(values))


def in_turn(
    runs: Mapping[str, Callable[[], float]], rounds: int, terminal: Terminal = SILENT
) -> dict[str, list[float]]:
    """Results of `runs`, called in turn, once a round: a slow moment affects all alike.

    A first round, which compiles and fills caches, is not counted.
    """
    results: dict[str, list[float]] = {name: [] for name in runs}
    with terminal.progress("rounds", rounds + 1, "rounds") as advance:
        for _ in range(rounds + 1):
            for name, run in runs.items():
                results[name].append(run())
            advance(1)
    return {name: values[1:] for name, values in results.items()}


def ratios(results: Mapping[str, list[float]], of: str, to: str) -> Spread:
    """The ratios of two measurements that were taken in turn, round by round."""
    return spread([one / other for one, other in zip(results[of], results[to], strict=True)])


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """How long `work` takes, until the arrays it returns are there."""
    start = time.perf_counter()
    jax.block_until_ready(work(*arguments))
    return time.perf_counter() - start


def about(mesh: Mesh) -> dict[str, Any]:
    """Devices, processor, date and versions of a measurement, and its peak memory so far, GB.

    The memory is that of a device where it reports it, otherwise of this process.
    """
    names = []
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        names = [line.partition(": ")[2].strip() for line in lines if line.startswith("model name")]
    stats = mesh.devices.flat[0].memory_stats()
    of_process = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "device": f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
        "processor": f"{len(names)} x {names[0]}" if names else platform.processor(),
        "machine": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions(),
        "peak_memory_gb": (stats["peak_bytes_in_use"] if stats else of_process) / 1e9,
    }


def random_data(config: Config, count: int, folder: Path) -> TrainingSet:
    """Random pixels and two-digit numbers that suit the configuration, at least one batch.

    Writes images.npy (memory-mapped) and labels.npy in `folder`.
    """
    rng, count = np.random.default_rng(0), max(count, config.batch_size)
    shape = count, max(SIDE, config.image.crop) ** 2 * 3
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    for start in range(0, count, 4096):  # a part at a time: memory is measured
        part = images[start : start + 4096]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    images.flush()
    labels = np.full((count, 1 + config.model.max_digits), BLANK, np.int32)
    labels[:, 0], labels[:, 1:3] = 2, rng.integers(0, 10, (count, labels[:, 1:3].shape[1]))
    np.save(folder / "labels.npy", labels)
    return load_random_data(folder)


def load_random_data(folder: Path) -> TrainingSet:
    """The data set that `random_data` left there."""
    images, labels = np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    return TrainingSet((images,), labels, np.arange(len(images)), "random")


class BenchmarkLoop:
    """A train step with its state, alone or with its input pipeline."""

    def __init__(self, config: Config, data: TrainingSet, mesh: Mesh, *, is_streamed: bool = False):
        """Makes the state and places the set; the step is compiled when it first runs."""
        self._task = ReaderTask(config)
        self._step = steps.compile_train_step(self._task, STEPS_OF_A_RUN, mesh)
        create = jax.jit(lambda: steps.create(self._task), out_shardings=devices.replicated(mesh))
        self.state = create()
        self._pipeline = InputPipeline(config, data, mesh, is_resident=not is_streamed)
        self._same = next(self._pipeline.batches(0, 1))
        self._done = 0

    def end_to_end(self, count: int) -> list[float]:
        """The losses of the next `count` steps, each on its own batch."""
        return self._run(self._pipeline.batches(self._done, self._done + count))

    def step_only(self, count: int) -> list[float]:
        """The losses of `count` steps, all on one batch that is on the devices already."""
        return self._run([self._same] * count)

    def _run(self, batches: Iterable[Any]) -> list[float]:
        rows: list[Any] = []
        for batch in batches:
            self.state, sums = self._step(self.state, *batch)
            jax.block_until_ready(rows[-1:])  # as the training loop waits
            rows.append(sums)
            self._done += 1
        jax.block_until_ready(self.state)
        return [self._task.summarize([row])["loss"] for row in jax.device_get(rows)]
