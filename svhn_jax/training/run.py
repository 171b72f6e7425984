"""A training run from its configuration to its last step: what python -m svhn_jax.train does."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import jax
import numpy as np
from rich.console import Console

from svhn_jax import files
from svhn_jax.config import Config
from svhn_jax.data import arrays, remote
from svhn_jax.errors import InputError
from svhn_jax.model import counting, inputs, networks
from svhn_jax.options import Processes
from svhn_jax.runs import versions
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder
from svhn_jax.training import compilation, devices, input_pipeline, loop, processes, signals
from svhn_jax.training.dataset import load_images, load_training_set, refuse_held_out_photos
from svhn_jax.training.loop import RunSetup
from svhn_jax.training.state import TrainState


def run(config: Config, place: Processes) -> int:
    """Trains the run, or continues it. Returns the exit status: 0, or 128 + the signal that stopped it.

    Raises:
      InputError: data, devices or the saved run do not suit the configuration, or the run has diverged.
      TryAgainError: another process of the run was lost.
    """
    if config.deterministic:
        compilation.make_deterministic()
    is_pod = processes.is_pod()  # joining may hide it
    processes.join_processes(place.coordinator, place.processes, place.process)
    if is_pod and not processes.is_joined() and place.processes != 1 and config.runs_dir.startswith(files.REMOTE):
        raise InputError(
            f"runs_dir is {config.runs_dir}, and this Kubernetes pod has no completion index: several such pods would "
            "write one run; start an indexed Job (completionMode: Indexed), or give --processes 1 if it is the only pod"
        )
    compilation.enable_compilation_cache()
    with processes.naming_lost_processes():
        return _run(config)


def _run(config: Config) -> int:
    console = Console(highlight=False, markup=False, quiet=not processes.is_process_zero())
    setup = processes.all_or_none(lambda: _prepare(config))
    processes.check_same(f"{config} {setup.fingerprints}", "a configuration or data")
    placement = input_pipeline.choose_placement(setup.data, config.data.placement, setup.mesh)
    _describe(console, setup, placement)
    with (
        _naming_the_run(setup.run),
        closing(setup.run),
        processes.on_process_zero(lambda: _open(console, setup)) or nullcontext() as checkpoints,
    ):
        state, window = _start_or_restore(console, setup, checkpoints)
        step, received = int(state.step), []
        if step >= setup.total_steps:
            console.print(f"Nothing left to train: the run has its {setup.total_steps} steps")
        else:
            with signals.noted() as received:
                step = loop.train(console, setup, placement.is_resident, state, window, checkpoints, received)
                if checkpoints:
                    checkpoints.wait()
        best = checkpoints.best_step() if checkpoints else None
    if received and step < setup.total_steps:
        console.print(
            f"Saved step {step} to {setup.run.steps_path}; the same command goes on from there", soft_wrap=True
        )
        return 128 + received[0]
    split = "test" if setup.has_test else "validation"
    console.print(
        f"Done: {setup.total_steps} steps in {setup.run.path}; best on validation: step {best}. Next:\n"
        f"  python -m svhn_jax.evaluate --run {setup.run.path} --split {split} --step best",
        soft_wrap=True,
    )
    return 0


def _prepare(config: Config) -> RunSetup:
    """Checks the configuration against devices and data."""
    mesh = devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = load_training_set(config), load_images(config.data.dir, "validation", config)
    if config.batch_size > len(data.epoch):
        most = len(data.epoch) // mesh.size * mesh.size
        remedy = f"give --batch-size {most} or less" if most else f"train on fewer than {mesh.size} devices"
        raise InputError(
            f"batch_size is {config.batch_size}, more than the {len(data.epoch)} images of an epoch; {remedy}"
        )
    refuse_held_out_photos(config)
    run = RunFolder(f"{config.runs_dir}/{config.name}")
    total_steps = config.total_steps(len(data.epoch))
    has_test = "test" in arrays.nonempty_splits(remote.local(config.data.dir))
    return RunSetup(config, mesh, data, validation, has_test, run, networks.build(config.model), total_steps)


def _open(console: Console, setup: RunSetup) -> Checkpoints:
    """Takes the run's folder, and checks the saved run, if there is one, against configuration and data."""
    setup.run.lock()
    data = DataRecord.of(setup.config, setup.fingerprints, setup.validation.crop)
    checkpoints = Checkpoints(
        setup.run.steps_path,
        keep_newest=setup.config.keep_newest,
        keep_every_steps=setup.config.keep_every_steps,
        metadata={
            "config": dataclasses.asdict(setup.config),
            "data": dataclasses.asdict(data),
            "versions": versions.versions(),
        },
        is_writer=True,
    )
    for name in setup.run.repair(checkpoints.newest_metadata()):
        console.print(f"warning: {setup.run.path}/{name} was missing or damaged: written anew from a checkpoint")
    setup.run.start_or_continue(setup.config, data, has_steps=bool(checkpoints.steps()))
    return checkpoints


def _describe(console: Console, setup: RunSetup, placement: input_pipeline.Placement) -> None:
    config, data = setup.config, setup.data
    window = f"{config.image.crop} of {data.side} pixels"
    params = counting.count_params(jax.eval_shape(setup.fresh_state).params)
    macs = counting.count_macs(setup.network, inputs.input_shape(config.image))
    devices = jax.devices()
    among = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    rows = {
        "run": f"{config.name}, in {setup.run.path}",
        "data": f"{', '.join((config.data.dir, *config.data.mix_in))}: {len(data.labels):,} training images "
        f"({len(data.epoch):,} an epoch), {len(setup.validation.labels):,} validation",
        "input": placement.reason,
        "batch": f"{config.batch_size} images over {len(devices)} device(s){among}: {devices[0].device_kind}",
        "epochs": f"{setup.total_steps * config.batch_size / len(data.epoch):.4g}, {setup.total_steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": window if config.augment.random_crop else f"no (the middle {window})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {params:,} parameters, "
        f"{macs / 1e6:,.1f} million multiply-accumulates an image, {config.model.compute_dtype}",
    }
    for name, text in rows.items():
        console.print(f"{name + ':':15}{text}", soft_wrap=True)


def _start_or_restore(
    console: Console, setup: RunSetup, checkpoints: Checkpoints | None
) -> tuple[TrainState, dict[str, float]]:
    """The state to go on from, and the sums of the steps since the last log line before it.

    It is that of the newest whole checkpoint, read by process 0 for all, or a fresh one.
    """
    everywhere = devices.replicated(setup.mesh)
    abstract = jax.eval_shape(setup.fresh_state).tree()
    restored = processes.on_process_zero(lambda: _restore(console, checkpoints, abstract) if checkpoints else None)
    tree, window = restored or (None, {})
    if not processes.broadcast_from_zero(np.array(tree is not None)):
        console.print(
            f"No checkpoint in {setup.run.steps_path}: begins at step 0; compiling the initial state", soft_wrap=True
        )
        return jax.jit(setup.fresh_state, out_shardings=everywhere)(), {}
    tree = tree or jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
    state = TrainState(**processes.broadcast_from_zero(tree))
    window = json.loads(processes.broadcast_text(json.dumps(window)))
    console.print(f"Restored step {int(state.step)} from {setup.run.steps_path}", soft_wrap=True)
    return devices.put(state, everywhere), window


def _restore(console: Console, checkpoints: Checkpoints, abstract: Any) -> tuple[Any, dict[str, float]]:
    """The newest whole step's tree, None if there is none, and its sums since the last log line."""

    def tell(text: str) -> None:
        console.print(f"warning: {text}", soft_wrap=True)

    tree = checkpoints.restore_newest(abstract, tell)
    checkpoints.tell_damaged_metrics(tell)
    if not tree:
        return None, {}
    step = int(tree["step"])
    metadata = checkpoints.metadata(step)
    if not metadata:
        tell(
            f"the metadata of step {step} are damaged: the versions it was saved with are unknown, and the first row "
            "of metrics may cover fewer steps"
        )
    for note in versions.notes([metadata.get("versions", {})]):
        console.print(note, soft_wrap=True)
    return tree, metadata.get("window", {})


@contextmanager
def _naming_the_run(run: RunFolder) -> Iterator[None]:
    """Within the block an error of the disk names at least the run: one of a file already open names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(run.path)
        raise
