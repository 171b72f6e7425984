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
from svhn_jax.runs import versions
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder
from svhn_jax.training import devices, loop, processes, steps
from svhn_jax.training.input_pipeline import choose_placement
from svhn_jax.training.loop import RunSetup
from svhn_jax.training.reader_task import ReaderTask
from svhn_jax.training.steps import TrainState
from svhn_jax.training.task import Task


@own_settings()
def run(
    config: Config,
    make_task: Callable[[Config], Task] = ReaderTask,
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
    folder = RunFolder(f"{config.runs_dir}/{config.name}")
    if start:
        RunFolder(start)  # refuses an unknown scheme before anything is made
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
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()  # waits for the other processes
    return status


def _run(task: Task, run: RunFolder, start: str | None, terminal: Terminal) -> int:
    terminal = terminal if processes.is_process_zero() else SILENT
    setup = processes.all_or_none(lambda: prepare(task, run))
    processes.require_same(f"{task.config} {setup.fingerprints}")
    is_resident, reason = choose_placement(setup.data, task.config.data.placement, setup.mesh)
    _describe(setup, reason, terminal)
    with (
        closing(run),
        processes.on_process_zero(lambda: open_checkpoints(setup, terminal))
        or nullcontext() as checkpoints,
    ):
        state = _first_state(setup, checkpoints, start, terminal)
        step, number = int(state.step), 0
        if step >= setup.total_steps:
            terminal.print(
                f"Nothing left to train: the run has its {setup.total_steps} steps; to train on, "
                f"give --start {run.path} and another --name"
            )
        else:
            step, number = loop.train(setup, is_resident, state, checkpoints, terminal)
            if checkpoints:
                checkpoints.wait()
        best = checkpoints.best_step() if checkpoints else None
    done = {"run": str(run.path), "step": step, "total_steps": setup.total_steps}
    terminal.result(done | {"best_step": best, "is_stopped": bool(number)})
    if number:
        terminal.print(f"Saved step {step} to {run.steps_path}; the same command continues there")
        return 128 + number
    terminal.print(
        f"Done: {setup.total_steps} steps in {run.path}; best on validation: step {best}"
    )
    if task.config.model.architecture != "finder":
        split = "test" if epath.Path(task.config.data.dir, "test").exists() else "validation"
        command = f"python -m svhn_jax.evaluate --run {run.path} --split {split} --step best"
        terminal.print(f"Next:\n  {command}")
    return 0


def prepare(task: Task, run: RunFolder) -> RunSetup:
    """Loads the data, and checks the configuration against devices and data.

    Raises:
      InputError: they do not suit the configuration.
    """
    config, mesh = task.config, devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = task.load()
    images = len(data.epoch)
    if config.batch_size > images:
        raise InputError(
            f"batch_size is {config.batch_size}, and an epoch has {images} images; give "
            f"--batch-size {images // mesh.size * mesh.size} or less"
        )
    return RunSetup(config, task, mesh, data, validation, run, config.total_steps(images))


def open_checkpoints(setup: RunSetup, terminal: Terminal) -> Checkpoints:
    """Locks the run's folder for writing, and checks a saved run against configuration and data.

    Raises:
      InputError: another process trains the run, or its saved configuration or data differ.
    """
    config, run = setup.config, setup.run
    run.lock(terminal)
    saved = run.facts()
    if "published" in saved:
        raise InputError(
            f"{run.path}: holds published weights; train from them with --start {run.path} and "
            "another --name"
        )
    checkpoints = Checkpoints(
        run.steps_path, terminal, keep_newest=config.keep_newest, is_writer=True
    )
    has_steps = bool(checkpoints.steps())
    if has_steps and (note := versions.note(saved.get("versions", {}))):
        terminal.print(note)
    data = DataRecord.of(config, setup.fingerprints, setup.validation.crop)
    facts = {"versions": versions.versions(), "total_steps": setup.total_steps}
    run.start_or_continue(config, data, facts, has_steps=has_steps)
    return checkpoints


def _describe(setup: RunSetup, placement: str, terminal: Terminal) -> None:
    """Prints what will be trained, on what; placement: of the training set, and why."""
    config, data, task, count = setup.config, setup.data, setup.task, setup.total_steps
    variables = jax.eval_shape(lambda: steps.initial_variables(task))
    params = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    folders = ", ".join((config.data.dir, *config.data.mix_in))
    among = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    terminal.print(
        f"run:    {config.name}, in {setup.run.path}",
        f"data:   {folders}: {len(data.labels):,} training images ({len(data.epoch):,} an epoch), "
        f"{len(setup.validation.labels):,} validation",
        f"input:  {placement}; {config.image.crop} of {data.side} pixels",
        f"batch:  {config.batch_size} images over {setup.mesh.size} device(s){among}: "
        f"{jax.devices()[0].device_kind}",
        f"epochs: {count * config.batch_size / len(data.epoch):.4g}, {count:,} steps",
        f"model:  {config.model.architecture}, {params:,} parameters, {config.model.compute_dtype}",
    )


def _first_state(
    setup: RunSetup,
    checkpoints: Checkpoints | None,
    start: str | None,
    terminal: Terminal,
) -> TrainState:
    """The state to continue from, on all devices.

    Process 0 reads the newest undamaged checkpoint, or makes a new state, and sends it to all.
    """
    task = setup.task
    create = partial(steps.create, task)
    abstract = jax.eval_shape(create).tree()

    def load() -> Any:
        if checkpoints and (tree := checkpoints.restore_newest(abstract)):
            return tree
        variables = start_variables(start, task, terminal) if start else None
        return jax.device_get(jax.jit(create)(variables)).tree()

    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
    tree = processes.broadcast_from_zero(processes.on_process_zero(load) or zeros)
    state: TrainState = devices.put(TrainState(**tree), devices.replicated(setup.mesh))
    if step := int(state.step):
        terminal.print(f"Restored step {step} from {setup.run.steps_path}")
    else:
        terminal.print(f"No checkpoint in {setup.run.steps_path}: begins at step 0")
    return state


def start_variables(folder: str, task: Task, terminal: Terminal) -> Any:
    """Variables for the task's network, as numpy arrays: a saved run's where they fit, else random.

    They are those of its best step, else of its newest, the running average if it has one. An
    array fits if its path and shape are the same; the others are named in one line.

    Raises:
      InputError: there is no such run, no step, or nothing fits.
    """
    run = RunFolder(folder)
    with Checkpoints(run.steps_path, terminal) as checkpoints:
        step = checkpoints.best_step() or max(checkpoints.steps(), default=None)
        if step is None:
            raise InputError(f"{folder}: holds no checkpoint to start from")
        saved = jax.tree_util.tree_leaves_with_path(checkpoints.restore_weights(step))
    known = {(path, leaf.shape): leaf for path, leaf in saved}
    fresh = jax.device_get(jax.jit(lambda: steps.initial_variables(task))())
    variables = jax.tree_util.tree_map_with_path(
        lambda path, leaf: known.get((path, leaf.shape), leaf), fresh
    )
    leaves = jax.tree_util.tree_leaves_with_path(fresh)
    missing = [
        jax.tree_util.keystr(path[1:], simple=True, separator="/")
        for path, leaf in leaves
        if (path, leaf.shape) not in known
    ]
    if not any(leaf.ndim > 1 and (path, leaf.shape) in known for path, leaf in leaves):
        raise InputError(f"{folder}: no kernel of its network fits; start from another run")
    left_out = f"; not of this network, so random: {', '.join(missing)}" if missing else ""
    terminal.print(f"Starts from step {step} of {run.path}{left_out}")
    return variables
