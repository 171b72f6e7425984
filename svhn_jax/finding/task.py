"""The finder as a task of the trainer: scenes with the boxes of their digits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.finding import losses, scene_files
from svhn_jax.finding.network import FinderNet, Maps, normalized
from svhn_jax.model.inputs import to_gray
from svhn_jax.model.layers import AXIS
from svhn_jax.model.metrics import add_up
from svhn_jax.training import compilation, devices
from svhn_jax.training.batches import in_batches
from svhn_jax.training.dataset import TrainingSet

EDGE = 0.1  # of the window: the middle of a scene's numbers is not nearer to its sides
# Strengths of the change of colour of a window, and the share of negatives: chosen by eye.
GAIN, CAST, OFFSET, SATURATION, INVERTED = 0.5, 0.12, 0.15, 0.7, 0.15


class FinderTask:
    """Windows of scenes uint8[N, SCENE * SCENE * 3] with digits float32[N, MOST_DIGITS, 5]."""

    def __init__(self, config: Config):
        self.config = config
        self.network: nn.Module = FinderNet(config.model)
        self.input_shape: tuple[int, ...] = (config.image.crop, config.image.crop, 3)

    def load(self) -> tuple[TrainingSet, scene_files.Scenes]:
        folder = self.config.data.dir
        train, validation = (scene_files.load(folder, split) for split in scene_files.SPLITS)
        images = train.images.reshape(len(train.images), -1)
        rows = np.arange(len(images))
        return TrainingSet((images,), train.labels, rows, train.fingerprint), validation

    def inputs(
        self, images: jax.Array, labels: jax.Array, keys: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(random_window, (0, 0, 0, None))(
            images, labels, keys, self.config.image.crop
        )

    def loss(self, outputs: Maps, targets: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        sums = losses.loss(outputs, targets)
        whole = jax.lax.psum(sums, AXIS)
        mean = losses.total(whole) / jnp.maximum(whole["cells"], 1)
        sums = {name: jax.lax.stop_gradient(value) for name, value in sums.items()}
        return mean, sums | {"examples": jnp.int32(len(targets)), "loss": mean * sums["cells"]}

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        sums = add_up(rows)
        if not sums.get("cells"):
            return {"loss": float("nan")}
        means = {name: sums[name] / sums["cells"] for name in (*losses.WEIGHTS, "right")}
        return {"loss": losses.total(means)} | means

    def scorer(
        self, validation: scene_files.Scenes, mesh: Mesh
    ) -> Callable[[Any], dict[str, float]]:
        """Scores the middle windows of the validation scenes; the best step has the least loss."""
        margin = (validation.images.shape[1] - self.config.image.crop) // 2

        def sums(variables: Any, images: jax.Array, digits: jax.Array, mask: jax.Array) -> Any:
            inside = slice(margin, margin + self.config.image.crop)
            maps: Any = self.network.apply(variables, normalized(images[:, inside, inside]), False)
            shift = margin * jnp.array([1, 1, 1, 1, 0])
            hidden = jnp.where(mask[:, None, None] > 0, digits - shift, jnp.nan)
            return losses.loss(maps, hidden)

        step = jax.jit(sums, compiler_options=compilation.compiler_options(mesh))
        everywhere = devices.replicated(mesh)
        columns = validation.images, validation.labels, np.ones(len(validation.images), np.int32)

        def score(variables: Any) -> dict[str, float]:
            parts = in_batches(
                lambda *batch: step(variables, *devices.put(batch, everywhere)),
                columns,
                self.config.eval_batch_size,
            )
            found = self.summarize(parts)
            return found | {"selection_score": 1 / (1 + found["loss"])}

        return score


def random_window(
    scene: jax.Array, digits: jax.Array, key: jax.Array, side: int
) -> tuple[jax.Array, jax.Array]:
    """A window of uint8[S, S, 3] at a random place, its colours changed, normalized; its digits.

    Where the scene has digits, the window holds their middle.
    """
    for_place, for_color = jax.random.split(key)
    most = scene.shape[0] - side
    center = (jnp.nanmin(digits[:, :2], axis=0) + jnp.nanmax(digits[:, 2:4], axis=0)) / 2
    low = jnp.where(jnp.isnan(center), 0, jnp.clip(center - (1 - EDGE) * side, 0, most))
    high = jnp.where(jnp.isnan(center), most, jnp.clip(center - EDGE * side, 0, most))
    corner = jnp.round(low + (high - low) * jax.random.uniform(for_place, (2,))).astype(jnp.int32)
    window = jax.lax.dynamic_slice(scene, (corner[1], corner[0], 0), (side, side, 3))
    u = jax.random.uniform(for_color, (10,), minval=-1.0)
    pixels = normalized(window)
    gray = to_gray(pixels)
    pixels = gray + (pixels - gray) * (1 + SATURATION * u[0])
    offset = 2 * (OFFSET * u[5] + OFFSET / 3 * u[6:9])
    pixels = pixels * jnp.exp(GAIN * u[1] + CAST * u[2:5]) + offset
    pixels = jnp.clip(pixels, -2, 2) * jnp.where(u[9] < 2 * INVERTED - 1, -1, 1)
    outside = (window == 128).all(-1, keepdims=True)  # the grey of the canvas stays as it is
    shift = jnp.append(jnp.tile(corner, 2), 0)
    return jnp.where(outside, 0.0, pixels), digits - shift
