"""The weights of a saved step, for reading photos."""

from typing import Any

from flax import linen as nn

from svhn_jax.config import Config
from svhn_jax.errors import CheckpointError
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training.state import abstract_variables


def load_variables(checkpoints: Checkpoints, step: int, config: Config, network: nn.Module) -> Any:
    """The variables that evaluation uses, from a saved step, as numpy arrays. Reads no optimizer state.

        variables = load_variables(checkpoints, checkpoints.best_step(), run.config(), network)
        logits = network.apply(variables, inputs.center_window(images, config.image), False)

    Raises:
      CheckpointError, TryAgainError: see `Checkpoints.restore`.
    """
    restored = checkpoints.restore(
        step, saved_form(config, abstract_variables(config, network)), is_partial=True
    )
    return restored["ema"] if config.optimizer.ema_decay else restored


def load_asked(
    run: RunFolder, checkpoints: Checkpoints, step: int, config: Config, network: nn.Module
) -> Any:
    """As `load_variables`, for the one step that the user asked for: the error of a damaged one has the remedy."""
    try:
        return load_variables(checkpoints, step, config, network)
    except CheckpointError as error:
        train = "give another --step, or run the same train command: it passes over a damaged step"
        raise CheckpointError(f"{error}; {run.remedy(train)}") from None


def saved_form(config: Config, variables: Any) -> Any:
    """The part of a checkpoint's tree that holds the variables that evaluation uses."""
    return {"ema": variables} if config.optimizer.ema_decay else variables
