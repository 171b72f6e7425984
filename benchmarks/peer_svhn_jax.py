"""svhn_jax's side of benchmarks/against_pytorch.py: its own train step and input pipeline."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from peer_worker import CHECK_STEPS, serve

from svhn_jax import config_files
from svhn_jax.benchmarking import measure, timing
from svhn_jax.benchmarking.workload import BenchmarkLoop, load_random_data
from svhn_jax.model import counting
from svhn_jax.training import devices
from svhn_jax.training.dataset import TrainingSet


class Side:
    """A network in training."""

    def __init__(self, options: dict):
        self.config = config_files.from_json(options["config"], "the comparison's configuration")
        self.folder = options["folder"]
        self.data = load_random_data(Path(self.folder))
        self.mesh = devices.make_mesh()
        self.loop = BenchmarkLoop(self.config, self.data, self.mesh)

    def metadata(self) -> dict:
        """What is compared."""
        return timing.hardware(self.mesh) | {
            "params": counting.count_params(self.loop.state.params),
            "platform": jax.default_backend(),
            "devices": self.mesh.size,
        }

    def memory(self) -> float:
        """GB of the device, or on a CPU of this process, at the peak so far."""
        return measure.peak_memory(self.mesh) / 1e9

    def run(self, count: int) -> float:
        """Seconds of `count` steps on one batch of bytes that is on the device; each step cuts and normalises it."""
        jax.block_until_ready(self.loop.state)
        return timing.seconds(self.loop.step_only, count)

    def fed(self, count: int) -> float:
        """Seconds of `count` steps, each on its own batch of the set that is on the device."""
        jax.block_until_ready(self.loop.state)
        return timing.seconds(self.loop.end_to_end, count)

    def losses(self) -> list[float]:
        """Of the first updates on the middle windows of the first images; writes the params before them."""
        config = dataclasses.replace(
            self.config, augment=dataclasses.replace(self.config.augment, random_crop=False)
        )
        size = config.batch_size
        first = TrainingSet(
            (np.asarray(self.data.parts[0][:size]),), self.data.labels[:size], np.arange(size), ""
        )
        loop = BenchmarkLoop(config, first, self.mesh)
        leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(loop.state.params))
        np.savez(
            f"{self.folder}/params.npz",
            **{"/".join(key.key for key in path): leaf for path, leaf in leaves},
        )
        return [loop.end_to_end(1)[0] for _ in range(CHECK_STEPS)]


if __name__ == "__main__":
    serve(Side)
