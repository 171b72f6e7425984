"""The weights of a saved step, for reading photos."""

from typing import Any

from flax import linen as nn

from svhn_jax.config import Config
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.training.state import abstract_variables


def load_variables(checkpoints: Checkpoints, step: int, config: Config, network: nn.Module) -> Any:
    """The variables that evaluation uses, from a saved step, as numpy arrays. Reads no optimizer state.

        variables = load_variables(checkpoints, checkpoints.best_step(), run.config(), network)
        logits = network.apply(variables, inputs.center_window(images, config.image), False)

    Raises:
      CheckpointError, TryAgainError: see `Checkpoints.restore`.
    """
    abstract = abstract_variables(config, network)
    if not config.optimizer.ema_decay:
        return checkpoints.restore(step, abstract, is_partial=True)
    return checkpoints.restore(step, {"ema": abstract}, is_partial=True)["ema"]
