"""Reads crops with the weights of a saved step."""

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np

from svhn_jax.config import Config
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError
from svhn_jax.model import decode, networks
from svhn_jax.model.decode import Predictions
from svhn_jax.model.networks import Logits
from svhn_jax.model.settings import own_settings
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training import compilation, devices, evaluator
from svhn_jax.training.batches import in_batches, joined


def choose_step(wanted: str | int, checkpoints: Checkpoints, run: RunFolder) -> int:
    """The saved step named by "best" (on validation while training), "latest" or a number.

    Raises:
      InputError: there is no such step.
    """
    saved = checkpoints.steps()
    if not saved:
        raise InputError(f"{run.path}: no checkpoint; train it, or fetch published weights again")
    named = {str(step): step for step in saved} | {"latest": saved[-1]}
    step = checkpoints.best_step() if wanted == "best" else named.get(str(wanted))
    if step is None:
        known = f"best (of validated steps) or one of {', '.join(named)}"
        raise InputError(f"{run.path}: --step is {wanted!r}; it must be {known}")
    return step


class Reader:
    """A saved step of a run, ready to read crops on one device.

    reader = Reader("checkpoints/demo", "best")
    predictions = reader.read(images)  # uint8[N, S, S, 3], cropped by reader.crop

    folder, config, crop, max_digits, step, variables: of the run and its step.
    """

    @own_settings()
    def __init__(
        self,
        run: str,
        step: str | int = "best",
        *,
        batch_size: int = 256,
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
        self.folder = RunFolder(run)
        self.config: Config = self.folder.config()
        if is_float32:
            model = dataclasses.replace(self.config.model, compute_dtype="float32")
            self.config = dataclasses.replace(self.config, model=model)
        self.crop: CropRule = self.folder.data().crop
        self.max_digits: int = self.config.model.max_digits
        network = networks.build(self.config.model)
        with Checkpoints(self.folder.steps_path) as checkpoints:
            self.step = choose_step(step, checkpoints, self.folder)
            self.use(checkpoints.restore_weights(self.step))
        self._batch_size = batch_size
        jit = partial(jax.jit, compiler_options=compilation.compiler_options(devices.make_mesh()))

        def forward(variables: Any, images: jax.Array) -> Logits:
            return evaluator.averaged_logits(variables, images, self.config, network, views)

        self._logits = jit(forward)
        self._read = jit(lambda *batch: decode.decode(forward(*batch)))
        self._log_p = jit(lambda *batch: decode.log_p_of(forward(*batch[:2]), batch[2]))

    def use(self, variables: Any) -> None:
        """Reads with these variables of the network from now on."""
        self.variables, self._on_device = variables, jax.device_put(variables)

    def read(self, images: np.ndarray) -> Predictions[np.ndarray]:
        """The predictions for uint8[N, S, S, 3], N at least 1."""
        read: Predictions[np.ndarray] = self._run(self._read, images)
        return read

    def log_p(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """float32[N]: log-probability, in nats, of labels int32[N, 1 + D] for uint8[N, S, S, 3]."""
        values: np.ndarray = self._run(self._log_p, images, labels)
        return values

    def logits(self, images: np.ndarray) -> Logits:
        """The logits for uint8[N, S, S, 3], N at least 1, as numpy arrays."""
        logits: Logits = self._run(self._logits, images)
        return logits

    @own_settings()
    def _run(self, function: Any, *columns: np.ndarray) -> Any:
        call = partial(function, self._on_device)
        return joined(in_batches(call, columns, self._batch_size), len(columns[0]))
