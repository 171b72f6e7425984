"""Reads crops with the weights of a saved step."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from svhn_jax.config import Config
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError
from svhn_jax.inference.source import choose_steps
from svhn_jax.inference.weights import load_asked
from svhn_jax.model import decode, networks
from svhn_jax.model.decode import Predictions
from svhn_jax.model.networks import Logits
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training import compilation, devices, steps

BATCH_SIZE = 256  # for many crops, as `svhn_jax.inference.boxing` has them


class Reader:
    """A saved step of a run, ready to read crops on one device.

    reader = Reader("checkpoints/demo", "best")
    predictions = reader.read(images)  # uint8[N, S, S, 3], cropped by reader.crop
    """

    def __init__(
        self,
        run: str,
        step: str | int = "best",
        *,
        batch_size: int = BATCH_SIZE,
        views: int = 1,
        is_float32: bool = False,
    ):
        """Loads the weights.

        Args:
          run: the run's folder.
          step: best, latest or a step's number.
          batch_size: of the compiled function: more crops go through it in turn, fewer are padded.
          views: how many of `inputs.VIEWS` are averaged.
          is_float32: read in float32, whatever the run was trained in.

        Raises:
          InputError: there is no such run or step.
          CheckpointError: the step is damaged.
        """
        if step == "all":
            raise InputError("--step is all; give one step: best, latest or a number")
        folder = RunFolder(run)
        self.folder = folder
        self.config: Config = folder.config()
        if is_float32:
            model = dataclasses.replace(self.config.model, compute_dtype="float32")
            self.config = dataclasses.replace(self.config, model=model)
        self.crop: CropRule = folder.data().crop
        self.max_digits: int = self.config.model.max_digits
        network = networks.build(self.config.model)
        with Checkpoints(folder.steps_path) as checkpoints:
            self.step = choose_steps(str(step), checkpoints, folder, may_be_all=False)[-1]
            self.variables = load_asked(folder, checkpoints, self.step, self.config, network)
        self._variables = jax.device_put(self.variables)
        self._batch_size = batch_size
        options = compilation.compiler_options(devices.make_mesh())
        forward = partial(_logits, self.config, network, views)
        self._forward = jax.jit(forward, compiler_options=options)
        self._read = jax.jit(
            lambda *arguments: decode.decode(forward(*arguments)), compiler_options=options
        )
        self._score = jax.jit(
            lambda variables, images, labels: decode.log_p_of(forward(variables, images), labels),
            compiler_options=options,
        )

    def read(self, images: np.ndarray) -> Predictions[np.ndarray]:
        """The predictions for uint8[N, S, S, 3], N at least 1."""
        return Predictions(*self._in_batches(lambda x: self._read(self._variables, x), images))

    def log_p(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """float32[N]: log-probability, in nats, of labels int32[N, 1 + D] for uint8[N, S, S, 3]; N at least 1."""
        [values] = self._in_batches(
            lambda x, y: [self._score(self._variables, x, y)], images, labels
        )
        return values

    def logits(self, images: np.ndarray) -> Logits:
        """The logits for uint8[N, S, S, 3], N at least 1, as numpy arrays."""
        parts: Any = self._in_batches(lambda x: self._forward(self._variables, x), images)
        return Logits(*parts)

    def _in_batches(self, function: Callable[..., Any], *columns: np.ndarray) -> list[np.ndarray]:
        """The results of a compiled function for N rows, which it gets a batch at a time; zeros fill the last batch."""
        count, size = len(columns[0]), self._batch_size
        parts = []
        for start in range(0, count, size):
            batch = [column[start : start + size] for column in columns]
            batch = [np.pad(x, ((0, size - len(x)), *((0, 0),) * (x.ndim - 1))) for x in batch]
            parts.append(jax.device_get(function(*map(jnp.asarray, batch))))
        return [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]


def _logits(
    config: Config, network: nn.Module, views: int, variables: Any, images: jax.Array
) -> Logits:
    return steps.averaged_logits(variables, images, config, network, views)
