"""The loop of svhn_jax.loop without lines, validations and checkpoints, and data to run it on: for measurements."""

from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from svhn_jax import feeding, metrics, model, optim, parallel, steps
from svhn_jax import state as states
from svhn_jax.config import Config
from svhn_jax.labels import BLANK
from svhn_jax.training_data import TrainingSet

SIDE = 64  # of random images, pixels
STEPS_OF_A_RUN = 10_000  # the schedule's; it does not end while we measure


def random_data(count: int, folder: Path) -> TrainingSet:
    """A training set of random pixels and two-digit numbers; images.npy and labels.npy in `folder`, memory-mapped."""
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, SIDE * SIDE * 3))
    for start in range(0, count, 4096):
        part = images[start : start + 4096]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    images.flush()
    labels = np.full((count, 6), BLANK, np.int32)
    labels[:, 0], labels[:, 1:3] = 2, rng.integers(0, 10, (count, 2))
    np.save(folder / "labels.npy", labels)
    return load_random_data(folder)


def load_random_data(folder: Path) -> TrainingSet:
    """What `random_data` left there."""
    images, labels = np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    return TrainingSet((images,), labels, np.arange(len(images)), "random")


class Trainer:
    """A train step with its state, fed in one of the ways of svhn_jax.feeding."""

    def __init__(self, config: Config, data: TrainingSet, mesh: Mesh, *, is_streamed: bool = False):
        """The state is made, the set placed; the step is compiled when it first runs."""
        network, tx = model.build(config.model), optim.optimizer(config.optimizer, STEPS_OF_A_RUN)
        self._step = steps.make_train_step(config, network, tx, mesh, is_streamed=is_streamed)
        create = jax.jit(lambda: states.create(config, network, tx), out_shardings=parallel.replicated(mesh))
        self.state = create()
        self._feed = feeding.Feed(config, data, mesh, is_resident=not is_streamed)
        self._same = self._feed.same_work()
        self._done = 0

    def fed(self, count: int) -> list[float]:
        """The losses of the next `count` steps, each on its own batch."""
        return self._run(self._feed.work(self._done, self._done + count))

    def alone(self, count: int) -> list[float]:
        """As many steps, on batches that need nothing brought; `count` is a multiple of steps_per_dispatch."""
        return self._run([self._same] * (count // self._same.steps))

    def _run(self, work_to_do: Iterable[feeding.Work]) -> list[float]:
        sums = steps.LateSums()
        for work in work_to_do:
            self.state, step_sums = self._step(self.state, work.images, work.labels, work.plan, work.device_count)
            sums.add(step_sums, work.steps)
            self._done += work.steps
        rows = sums.take()
        jax.block_until_ready(self.state)
        return [metrics.summarize([row])["loss"] for row in rows]
