"""A training run from its configuration to its last step: what python -m svhn_jax.train does."""

import dataclasses
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext

import jax
import numpy as np
from rich.console import Console

from svhn_jax import (
    augment,
    compiling,
    input_pipeline,
    loop,
    model,
    parallel,
    signals,
    versions,
)
from svhn_jax.checkpoint import Checkpoints
from svhn_jax.config import Config
from svhn_jax.errors import InputError
from svhn_jax.loop import Job
from svhn_jax.options import Processes
from svhn_jax.run_folder import DataRecord, RunFolder
from svhn_jax.state import TrainState
from svhn_jax.training_data import load_images, load_training_set, refuse_validation_photos


def run(config: Config, processes: Processes) -> int:
    """Trains the run, or continues it. Returns the exit status: 0, or 128 + the signal that stopped it.

    Raises:
      InputError: data, devices or the saved run do not suit the configuration, or the run has diverged.
      TryAgainError: another process of the run was lost.
    """
    if config.deterministic:
        compiling.make_deterministic()
    signals.end_at_sigterm()
    parallel.join_processes(processes.coordinator, processes.processes, processes.process)
    compiling.enable_compilation_cache()
    with parallel.naming_lost_processes():
        return _run(config)


def _run(config: Config) -> int:
    console = Console(highlight=False, markup=False, quiet=not parallel.is_main())
    job = parallel.jointly(lambda: _prepare(config))
    parallel.check_same(f"{config} {job.fingerprints}", "a configuration or data")
    placement = input_pipeline.choose_placement(job.data, config.data.placement, job.mesh)
    _describe(console, job, placement)
    with (
        _naming_the_run(job.run),
        closing(job.run),
        parallel.on_main(lambda: _open(console, job)) or nullcontext() as checkpoints,
    ):
        state = _start_or_restore(console, job, checkpoints)
        window = checkpoints.about(int(state.step)).get("window", {}) if checkpoints else {}
        with signals.noted() as received:
            step = loop.train(console, job, placement.is_resident, state, window, checkpoints, received)
            if checkpoints:
                checkpoints.wait()
        best = checkpoints.best_step() if checkpoints else None
    if received and step < job.total_steps:
        console.print(f"Saved step {step} to {job.run.steps_path}; the same command goes on from there", soft_wrap=True)
        return 128 + received[0]
    console.print(
        f"Done: {job.total_steps} steps in {job.run.path}; best on validation: step {best}. Next:\n"
        f"  python -m svhn_jax.evaluate --run {job.run.path} --split test --step best",
        soft_wrap=True,
    )
    return 0


def _prepare(config: Config) -> Job:
    """Checks the configuration against devices and data."""
    mesh = parallel.make_mesh()
    parallel.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = load_training_set(config), load_images(config.data.dir, "validation", config)
    if config.batch_size > len(data.epoch):
        raise InputError(
            f"batch_size is {config.batch_size}, more than the {len(data.epoch)} images of an epoch; give less"
        )
    refuse_validation_photos(config)
    run = RunFolder(f"{config.runs_dir}/{config.name}")
    total_steps = config.total_steps(len(data.epoch))
    return Job(config, mesh, data, validation, run, model.build(config.model), total_steps)


def _open(console: Console, job: Job) -> Checkpoints:
    """Takes the run's folder, and checks the saved run, if there is one, against configuration and data."""
    job.run.lock()
    data = DataRecord.of(job.config, job.fingerprints, job.validation.crop)
    checkpoints = Checkpoints(
        job.run.steps_path,
        keep_newest=job.config.keep_newest,
        keep_every_steps=job.config.keep_every_steps,
        about={
            "config": dataclasses.asdict(job.config),
            "data": dataclasses.asdict(data),
            "versions": versions.versions(),
        },
        is_writer=True,
    )
    for name in job.run.mend(checkpoints.about_newest()):
        console.print(f"warning: {job.run.path}/{name} was missing or damaged: written anew from a checkpoint")
    job.run.start_or_continue(job.config, data, has_steps=bool(checkpoints.steps()))
    return checkpoints


def _describe(console: Console, job: Job, placement: input_pipeline.Placement) -> None:
    config, data = job.config, job.data
    window = f"{config.image.crop} of {data.side} pixels"
    params = model.count_params(jax.eval_shape(job.fresh_state).params)
    macs = model.count_macs(job.network, augment.input_shape(config.image))
    devices = jax.devices()
    among = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    rows = {
        "run": f"{config.name}, in {job.run.path}",
        "data": f"{', '.join((config.data.dir, *config.data.mix_in))}: {len(data.labels):,} training images "
        f"({len(data.epoch):,} an epoch), {len(job.validation.labels):,} validation",
        "input": placement.reason,
        "batch": f"{config.batch_size} images over {len(devices)} device(s){among}: {devices[0].device_kind}",
        "epochs": f"{job.total_steps * config.batch_size / len(data.epoch):.4g}, {job.total_steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": window if config.augment.random_crop else f"no (the middle {window})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {params:,} parameters, "
        f"{macs / 1e6:,.1f} million multiply-accumulates an image, {config.model.compute_dtype}",
    }
    for name, text in rows.items():
        console.print(f"{name + ':':15}{text}", soft_wrap=True)


def _start_or_restore(console: Console, job: Job, checkpoints: Checkpoints | None) -> TrainState:
    """The state of the newest whole checkpoint, read by the main process for all, or a fresh one."""
    everywhere = parallel.replicated(job.mesh)
    abstract = jax.eval_shape(job.fresh_state)
    restored = parallel.on_main(lambda: _restore(console, checkpoints, abstract) if checkpoints else None)
    if not parallel.from_main(np.array(restored is not None)):
        console.print(
            f"No checkpoint in {job.run.steps_path}: begins at step 0; compiling the initial state", soft_wrap=True
        )
        return jax.jit(job.fresh_state, out_shardings=everywhere)()
    state = parallel.from_main(restored or jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract))
    console.print(f"Restored step {int(state.step)} from {job.run.steps_path}", soft_wrap=True)
    return parallel.put(state, everywhere)


def _restore(console: Console, checkpoints: Checkpoints, abstract: TrainState) -> TrainState | None:
    def tell(text: str) -> None:
        console.print(f"warning: {text}", soft_wrap=True)

    state = checkpoints.restore_newest(abstract, tell)
    checkpoints.tell_damaged_metrics(tell)
    if state:
        for note in versions.notes([checkpoints.about(int(state.step)).get("versions", {})]):
            console.print(note, soft_wrap=True)
    return state


@contextmanager
def _naming_the_run(run: RunFolder) -> Iterator[None]:
    """Within the block an error of the disk names at least the run: one of a file already open names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(run.path)
        raise
