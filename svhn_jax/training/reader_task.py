"""The reader of crops as a task of the trainer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.model import augment, decode, inputs, losses, metrics, networks
from svhn_jax.model.layers import AXIS
from svhn_jax.model.networks import Logits
from svhn_jax.training import evaluator
from svhn_jax.training.dataset import (
    TrainingSet,
    load_images,
    load_training_set,
    refuse_held_out_photos,
)


class ReaderTask:
    """Crops uint8[N, S * S * 3] with numbers int32[N, 1 + D], see svhn_jax.labels.

    task = ReaderTask(config_files.load("configs/demo.py"))
    train_step = steps.compile_train_step(task, total_steps, mesh)
    """

    def __init__(self, config: Config):
        self.config, self.network = config, networks.build(config.model)
        self.input_shape: tuple[int, ...] = inputs.input_shape(config.image)

    def load(self) -> tuple[TrainingSet, Split]:
        refuse_held_out_photos(self.config)
        validation = load_images(self.config.data.dir, "validation", self.config)
        return load_training_set(self.config), validation

    def inputs(
        self, images: jax.Array, labels: jax.Array, keys: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return augment.random_window(images, keys, self.config.image, self.config.augment), labels

    def loss(self, outputs: Logits, targets: jax.Array) -> tuple[jax.Array, metrics.Sums]:
        loss = losses.cross_entropy(outputs, targets, self.config.loss)
        predicted = decode.decode(jax.lax.stop_gradient(outputs)).labels
        alone = jax.lax.stop_gradient(loss)
        sums = metrics.count(predicted, targets, alone, jnp.ones_like(alone))
        return jax.lax.pmean(loss.mean(), AXIS), sums

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return metrics.summarize(rows, self.config.model.max_digits)

    def scorer(self, validation: Split, mesh: Mesh) -> Callable[[Any], dict[str, float]]:
        eval_step = evaluator.compile_eval_step(self.config, self.network, mesh)
        size = self.config.eval_batch_size
        return lambda variables: evaluator.score_split(
            eval_step, variables, validation, size, mesh
        )[0]
