"""The train loop without log lines, validations and checkpoints, and random data: to measure."""

from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.labels import BLANK, DEFAULT_MAX_DIGITS
from svhn_jax.training import devices, steps
from svhn_jax.training import state as states
from svhn_jax.training.dataset import TrainingSet
from svhn_jax.training.input_pipeline import InputPipeline, StepInputs
from svhn_jax.training.reader_task import ReaderTask

SIDE = 64  # of random images, pixels
STEPS_OF_A_RUN = 10_000  # the schedule does not end while we measure


def random_data(count: int, folder: Path, max_digits: int = DEFAULT_MAX_DIGITS) -> TrainingSet:
    """Random pixels and two-digit numbers: images.npy (mapped) and labels.npy in `folder`."""
    rng = np.random.default_rng(0)
    shape = count, SIDE * SIDE * 3
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    for start in range(0, count, 4096):
        part = images[start : start + 4096]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    images.flush()
    labels = np.full((count, 1 + max_digits), BLANK, np.int32)
    labels[:, 0], labels[:, 1:3] = 2, rng.integers(0, 10, (count, 2))[:, :max_digits]
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
        create = jax.jit(lambda: states.create(self._task), out_shardings=devices.replicated(mesh))
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

    def _run(self, batches: Iterable[StepInputs]) -> list[float]:
        sums = steps.DeferredMetrics()
        for batch in batches:
            self.state, step_sums = self._step(self.state, *batch)
            sums.add(step_sums)
            self._done += 1
        rows = sums.take()
        jax.block_until_ready(self.state)
        return [self._task.summarize([row])["loss"] for row in rows]
