"""The saved steps of a run that are read with: which one, and its weights."""

from typing import Any

from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder


def choose_steps(wanted: str | int, checkpoints: Checkpoints, run: RunFolder) -> list[int]:
    """The saved steps named by "best" (on validation while training), "latest", "all" or a number.

    Raises:
      InputError: there is no such step.
    """
    saved = checkpoints.steps()
    if not saved:
        raise InputError(f"{run.path}: no checkpoint; train it, or fetch published weights again")
    if wanted == "all":
        return saved
    if wanted == "latest":
        return saved[-1:]
    if wanted == "best":
        best = checkpoints.best_step()
        if best is None:
            remedy = run.remedy("give --step latest or a number")
            raise InputError(f"{run.path}: no saved step has validation metrics; {remedy}")
        return [best]
    if str(wanted) not in map(str, saved):
        numbers = ", ".join(map(str, saved))
        raise InputError(f"--step is {wanted!r}; it must be latest, best or one of {numbers}")
    return [int(wanted)]


def load_variables(run: RunFolder, checkpoints: Checkpoints, step: int) -> Any:
    """The variables that evaluation uses, from a saved step, as numpy arrays.

        variables = load_variables(run, checkpoints, checkpoints.best_step())
        logits = network.apply(variables, inputs.center_window(images, config.image), False)

    Raises:
      CheckpointError: the step cannot be read.
    """
    try:
        return checkpoints.restore_weights(step)
    except CheckpointError as error:
        train = "give another --step, or run the same train command: it passes over a damaged step"
        raise CheckpointError(f"{error}; {run.remedy(train)}") from None
