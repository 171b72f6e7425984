"""Weights of another run to begin with: `train --start FOLDER`."""

from typing import Any

import jax

from svhn_jax.errors import InputError
from svhn_jax.output import Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training.state import initial_variables
from svhn_jax.training.task import Task


def start_variables(folder: str, task: Task, terminal: Terminal) -> Any:
    """Variables for the task's network, as numpy arrays: a saved run's where they fit, else random.

    They are those of its best step, else of its newest, the running average if it has one. An
    array fits if its path and shape are the same; the others are named in one line.

    Raises:
      InputError: there is no such run, no step, or nothing fits.
    """
    run = RunFolder(folder)
    with Checkpoints(run.steps_path, terminal) as checkpoints:
        step = checkpoints.best_step()
        if step is None:
            step = max(checkpoints.steps(), default=None)
        if step is None:
            raise InputError(f"{folder}: holds no checkpoint to start from")
        saved = jax.tree_util.tree_leaves_with_path(checkpoints.restore_weights(step))
    known = {(path, leaf.shape): leaf for path, leaf in saved}
    fresh = jax.device_get(jax.jit(lambda: initial_variables(task))())
    paths, structure = jax.tree_util.tree_flatten_with_path(fresh)
    found = [known.get((path, leaf.shape)) for path, leaf in paths]
    missing = [
        "/".join(key.key for key in path[1:])
        for (path, _), leaf in zip(paths, found, strict=True)
        if leaf is None
    ]
    if len(missing) == len(found):
        raise InputError(f"{folder}: no array of its network fits this one; start from another run")
    left_out = f"; not of this network, so random: {', '.join(missing)}" if missing else ""
    terminal.print(f"Starts from step {step} of {run.path}{left_out}")
    leaves = [
        leaf if value is None else value for (_, leaf), value in zip(paths, found, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)
