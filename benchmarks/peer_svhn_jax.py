"""svhn_jax's side of against_pytorch.py: its own train step and input pipeline."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from peer_worker import CHECK_STEPS

from svhn_jax import config_files
from svhn_jax.model import counting, inputs, networks
from svhn_jax.training import devices, speed
from svhn_jax.training.dataset import TrainingSet

PRODUCTS = 32  # matrix products in a row, so that their start does not count


def matmul_run(dtype: Any, mesh: Mesh) -> Callable[[], float]:
    """A measurement of the TFLOP/s of large square matrix products on all devices: the ceiling."""
    side = 1024 if mesh.devices.flat[0].platform == "cpu" else 8192
    random = np.random.default_rng(0).normal(0, side**-0.5, (mesh.size, side, side))
    factor = devices.put(random.astype(dtype), devices.sharded(mesh))  # zeros would be faster
    run = jax.jit(lambda x: jax.lax.fori_loop(0, PRODUCTS, lambda _, y: x @ y, x))
    return lambda: 2 * side**3 * PRODUCTS * mesh.size / speed.seconds(run, factor) / 1e12


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
        params = counting.count_params(self.loop.state.params)
        places = {"platform": jax.default_backend(), "devices": self.mesh.size}
        return speed.about(self.mesh) | places | {"params": params}

    def ceiling(self) -> dict[str, float]:
        """TFLOP/s of matrix products here, and TFLOP of a training image: 2 a product, 3 passes."""
        run = matmul_run(jnp.dtype(self.config.model.compute_dtype), self.mesh)
        network = networks.build(self.config.model)
        macs = counting.count_macs(network, inputs.input_shape(self.config.image))
        tflops = speed.in_turn({"products": run}, 3)["products"]
        return {"tflops": max(tflops), "tflop_an_image": 6 * macs / 1e12}

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
