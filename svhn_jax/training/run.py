"""A training run from set-up to last step: what python -m svhn_jax.train does."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from svhn_jax import files
from svhn_jax.config import Config
from svhn_jax.errors import InputError
from svhn_jax.model.settings import own_settings
from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training import compilation, devices, loop, processes
from svhn_jax.training import state as states
from svhn_jax.training.input_pipeline import choose_placement
from svhn_jax.training.reader_task import ReaderTask
from svhn_jax.training.setup import RunSetup, describe, open_checkpoints, prepare
from svhn_jax.training.start import start_variables
from svhn_jax.training.state import TrainState
from svhn_jax.training.task import Task

MakeTask = Callable[[Config], Task]


@own_settings()
def run(
    config: Config,
    make_task: MakeTask = ReaderTask,
    *,
    start: str | None = None,
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    terminal: Terminal = SILENT,
) -> int:
    """Trains the run, or continues it. Returns 0, or 128 + the signal that stopped it.

        config = config_files.load("configs/demo.py")
        run(config)

    Args:
      start: folder of a run whose weights a new run begins with.
      coordinator, count, index: see `processes.find_place`.

    Raises:
      InputError: data, devices or the saved run do not suit the configuration, or it has diverged.
      TryAgainError: another process of the run was lost.
    """
    if config.deterministic:
        compilation.make_deterministic()
    folder = RunFolder(f"{config.runs_dir}/{config.name}")
    place = processes.find_place(coordinator, count, index, str(folder.path))
    if place and files.is_locked(Path(folder.path) / "lock"):
        # It would meet the port of that training, which would end.
        raise InputError(f"{folder.path}: is being trained; wait for it, or give another --name")
    if count != 1:
        processes.join(place, terminal)
    try:
        with processes.naming_lost_processes():
            status = _run(make_task(config), folder, start, terminal)
    except OSError as error:  # such as a full disk, which names no file
        error.filename = error.filename or str(folder.path)
        raise
    processes.leave()
    return status


def _run(task: Task, run: RunFolder, start: str | None, terminal: Terminal) -> int:
    terminal = terminal if processes.is_process_zero() else terminal.silenced()
    setup = processes.all_or_none(lambda: prepare(task, run))
    processes.all_or_none(lambda: _require_same(f"{task.config} {setup.fingerprints}"))
    placement = choose_placement(setup.data, task.config.data.placement, setup.mesh)
    describe(setup, placement, terminal)
    with (
        closing(run),
        processes.on_process_zero(lambda: open_checkpoints(setup, terminal))
        or nullcontext() as checkpoints,
    ):
        state = _begin(setup, checkpoints, start, terminal)
        step, number = int(state.step), 0
        if step >= setup.total_steps:
            terminal.print(
                f"Nothing left to train: the run has its {setup.total_steps} steps; to train on, "
                f"give --start {run.path} and another --name"
            )
        else:
            step, number = loop.train(setup, placement.is_resident, state, checkpoints, terminal)
            if checkpoints:
                checkpoints.wait()
        best = checkpoints.best_step() if checkpoints else None
    done = {"run": str(run.path), "step": step, "total_steps": setup.total_steps}
    terminal.result(done | {"best_step": best, "is_stopped": bool(number)})
    if number:
        terminal.print(f"Saved step {step} to {run.steps_path}; the same command continues there")
        return 128 + number
    split = "test" if epath.Path(task.config.data.dir, "test").exists() else "validation"
    terminal.print(
        f"Done: {setup.total_steps} steps in {run.path}; best on validation: step {best}. Next:",
        f"  python -m svhn_jax.evaluate --run {run.path} --split {split} --step best",
    )
    return 0


def _begin(
    setup: RunSetup,
    checkpoints: Checkpoints | None,
    start: str | None,
    terminal: Terminal,
) -> TrainState:
    """The state to continue from.

    Process 0 reads the newest undamaged checkpoint, or `start`, and sends it to all.
    """
    task, everywhere = setup.task, devices.replicated(setup.mesh)
    create = partial(states.create, task)
    abstract = jax.eval_shape(create).tree()
    tree = processes.on_process_zero(
        lambda: checkpoints.restore_newest(abstract) if checkpoints else None
    )
    if processes.broadcast_from_zero(np.array(tree is not None)):
        state = TrainState(**processes.broadcast_from_zero(tree or _zeros(abstract)))
        terminal.print(f"Restored step {int(state.step)} from {setup.run.steps_path}")
        continued: TrainState = devices.put(state, everywhere)
        return continued
    terminal.print(f"No checkpoint in {setup.run.steps_path}: begins at step 0")
    variables = None
    if start:
        loaded = processes.on_process_zero(lambda: start_variables(start, task, terminal))
        zeros = _zeros(states.abstract_variables(task))
        variables = processes.broadcast_from_zero(loaded or zeros)
    return jax.jit(create, out_shardings=everywhere)(variables)


def _require_same(text: str) -> None:
    if processes.broadcast_text(text) != text:
        raise InputError(
            "this process has a configuration or data other than process 0; start all with the same"
        )


def _zeros(abstract: Any) -> Any:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
