"""svhn_jax's side of against_pytorch.py: its own train step and input pipeline."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from peer_worker import CHECK_STEPS

from svhn_jax import config_files
from svhn_jax.training import devices, speed
from svhn_jax.training.dataset import TrainingSet


class Side:
    """A network in training."""

    def __init__(self, options: dict[str, Any]):
        if options["is_exact"]:
            jax.config.update("jax_default_matmul_precision", "highest")
        self.config = config_files.from_json(options["config"], "the comparison's configuration")
        self.folder = Path(options["folder"])
        self.data = speed.load_random_data(self.folder)
        self.mesh = devices.make_mesh()
        self.loop = speed.BenchmarkLoop(self.config, self.data, self.mesh)

    def about(self) -> dict[str, Any]:
        """Hardware, versions and size."""
        params = sum(leaf.size for leaf in jax.tree.leaves(self.loop.state.params))
        places = {"platform": jax.default_backend(), "devices": self.mesh.size}
        return speed.about(self.mesh) | places | {"params": params}

    def run(self, count: int) -> float:
        """Seconds of `count` steps on one batch of bytes, cropped and normalized in each step."""
        return speed.seconds(self.loop.step_only, count)

    def fed(self, count: int) -> float:
        """Seconds of `count` steps on batches of the set on the device."""
        return speed.seconds(self.loop.end_to_end, count)

    def losses(self) -> list[float]:
        """Losses of the first updates on center crops; writes the params from before them."""
        augment = dataclasses.replace(self.config.augment, random_crop=False)
        size = self.config.batch_size
        images = np.asarray(self.data.parts[0][:size])
        first = TrainingSet((images,), self.data.labels[:size], np.arange(size), "")
        loop = speed.BenchmarkLoop(
            dataclasses.replace(self.config, augment=augment), first, self.mesh
        )
        leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(loop.state.params))
        params = {"/".join(key.key for key in path): leaf for path, leaf in leaves}
        np.savez(self.folder / "params.npz", **params)
        return [loop.end_to_end(1)[0] for _ in range(CHECK_STEPS)]
