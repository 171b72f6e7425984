"""What the trainer needs to know of a network: its data, its loss, its scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
from flax import linen as nn
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.training.dataset import TrainingSet


class Task(Protocol):
    """A network to train, such as `svhn_jax.training.reader_task.ReaderTask`.

    `inputs` and `loss` run on each device under `jax.shard_map` with the axis
    `svhn_jax.model.layers.AXIS`, on that device's part b of the global batch.

    Attributes:
      network: apply(variables, inputs, is_training, dropout_keys) -> outputs.
      input_shape: of one example as the network sees it.
    """

    config: Config
    network: nn.Module
    input_shape: tuple[int, ...]

    def load(self) -> tuple[TrainingSet, Any]:
        """The training set, and validation data with `labels`, `fingerprint` and `crop`.

        Raises:
          InputError: the data do not suit the configuration.
        """
        ...

    def inputs(self, images: jax.Array, labels: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        """Random inputs of the network, and targets, of images uint8[b, S, S, 3] and b keys."""
        ...

    def loss(self, outputs: Any, targets: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean loss of the global batch, and sums of this device's part, which are scalars."""
        ...

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Metrics from the sums of one or more global batches; "loss" among them."""
        ...

    def scorer(self, validation: Any, mesh: Mesh) -> Callable[[Any], dict[str, float]]:
        """A function from variables on the devices to the metrics of the validation data.

        "loss" is among them; see `svhn_jax.model.metrics.selection_score` for the best step.
        """
        ...
