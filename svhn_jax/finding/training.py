"""Trains a finder on composed scenes; stopped, it goes on from its last checkpoint."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from svhn_jax import files
from svhn_jax.errors import InputError
from svhn_jax.finding import steps
from svhn_jax.finding.config import FinderConfig
from svhn_jax.finding.scene_files import Scenes
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.training import devices, processes
from svhn_jax.training.state import TrainState

LOG_EVERY, SAVE_EVERY = 100, 500  # steps
Origin = Mapping[str, str | None]


def train(
    config: FinderConfig,
    scenes: Scenes,
    folder: Path,
    tell: Callable[[str], None],
    variables: Any = None,
    origin: Origin | None = None,
) -> Any:
    """The trained variables, as numpy arrays: the running average after the last step.

    Args:
      folder: of the checkpoints, an absolute path; a run that was stopped there goes on.
      tell: prints a line.
      variables: of a trained finder, to start from; None: random ones.
      origin: options that name where scenes and variables come from; saved for `require_same_run`.

    Raises:
      InputError: the batch does not split over the devices, or the loss is not finite.
      InputError: Ctrl-C or SIGTERM; the state was saved.
    """
    mesh = devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    whole, split = devices.replicated(mesh), devices.sharded(mesh)
    initial = jax.jit(lambda: steps.create(config, variables), out_shardings=whole)
    train_step = steps.compile_train_step(config, mesh)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "run.json", json.dumps(_metadata(config, origin)))
    with Checkpoints(str(folder), is_writer=True) as checkpoints:
        saved = checkpoints.restore_newest(jax.eval_shape(initial).tree())
        state = devices.put(TrainState(**saved), whole) if saved else initial()
        with processes.stop_signals() as stopped_by:
            for step in range(int(state.step), config.steps):
                rows = batch_rows(config, len(scenes.boxes), step)
                batch = devices.put((scenes.images[rows], scenes.boxes[rows]), split)
                state, parts = train_step(state, *batch)
                done = step + 1
                if done % LOG_EVERY == 0 or done == config.steps:
                    _report(done, config.steps, np.asarray(parts), tell)
                received = stopped_by(done)
                if done % SAVE_EVERY == 0 or done == config.steps or received:
                    checkpoints.save(done, state.tree(), None)
                if received:
                    raise InputError(f"stopped at step {done}; the same command goes on from there")
        return jax.device_get(state.ema)


def require_same_run(config: FinderConfig, folder: Path, origin: Origin) -> None:
    """InputError if the run in the folder, if there is one, has other options; those that it did not save are not compared."""
    if not (folder / "run.json").is_file():
        return
    saved = json.loads((folder / "run.json").read_text())
    for part, options in _metadata(config, origin).items():
        for name, value in options.items():
            before = saved.get(part, {}).get(name, value)
            if before != value:
                option = "--" + name.replace("_", "-")
                raise InputError(
                    f"{folder}: its run has {option} {_shown(before)}, not {_shown(value)}; give the same, or another --work"
                )


def _metadata(config: FinderConfig, origin: Origin | None) -> dict[str, dict[str, Any]]:
    return {"config": config.as_json(), "origin": dict(origin or {})}


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def batch_rows(config: FinderConfig, count: int, step: int) -> np.ndarray:
    """int[batch_size], ascending: the scenes of a step, each once an epoch, in an order drawn from (seed, epoch)."""
    positions = np.arange(step * config.batch_size, (step + 1) * config.batch_size)
    epochs = positions // count
    orders = {
        epoch: np.random.default_rng([config.seed, epoch]).permutation(count)
        for epoch in np.unique(epochs)
    }
    return np.sort(
        [orders[epoch][position % count] for epoch, position in zip(epochs, positions, strict=True)]
    )


def _report(step: int, steps: int, parts: np.ndarray, tell: Callable[[str], None]) -> None:
    score, box, count = parts.tolist()
    if not np.isfinite(score + box):
        raise InputError(
            f"step {step}: the loss is not finite; train again with a smaller --learning-rate"
        )
    tell(
        f"step {step:,} of {steps:,}: score {score:.3f}, box {box:.3f}, {count:.0f} positive cells"
    )
