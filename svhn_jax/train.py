"""python -m svhn_jax.train --config configs/NAME.py [overrides]: trains a run, or goes on with it.

A run is the folder RUNS/NAME (see svhn_jax.run_folder). The same command again goes on from its
newest checkpoint. Ctrl-C or SIGTERM saves first, once it trains; then the exit status is 130 or 143.

Started many times at once (TPU pod, SLURM, Open MPI, indexed Kubernetes Job, or with --coordinator, --processes, --process),
the processes train one run together on all their devices; process 0 alone reports, and touches the
run's folder. Where one is lost the others stop, with exit status 75 or, ended by JAX, 134.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import jax
import numpy as np
from rich.console import Console

from svhn_jax import (
    augment,
    compiling,
    config_files,
    feeding,
    loop,
    model,
    optim,
    parallel,
    run_folder,
    signals,
)
from svhn_jax.checkpoint import Checkpoints
from svhn_jax.config import Config
from svhn_jax.errors import InputError, run_command
from svhn_jax.loop import Job
from svhn_jax.run_folder import RunFolder
from svhn_jax.state import TrainState
from svhn_jax.training_data import load_images, load_training_set


def main() -> int:
    config, processes = _parse_command_line()
    signals.end_at_sigterm()
    parallel.join_processes(processes.coordinator, processes.processes, processes.process)
    compiling.keep_compiled()
    with parallel.naming_lost_processes():
        return _run(config)


def _run(config: Config) -> int:
    console = Console(highlight=False, markup=False, quiet=not parallel.is_main())
    job = parallel.jointly(lambda: _prepare(config))
    parallel.check_same(f"{config} {job.fingerprints}", "a configuration or data")
    placement = feeding.choose_placement(job.data, config.data.placement, job.mesh)
    _describe(console, job, placement)
    with _naming_the_run(job.run), parallel.on_main(lambda: _open(console, job)) or nullcontext() as checkpoints:
        state = _start_or_restore(console, job, checkpoints)
        with signals.noted() as received:
            step = loop.train(console, job, placement.is_resident, state, checkpoints, received)
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
    run = RunFolder(f"{config.runs_dir}/{config.name}")
    total_steps = max(1, round(config.num_epochs * len(data.epoch) / config.batch_size))
    tx = optim.optimizer(config.optimizer, total_steps)
    network = model.build(config.model)
    return Job(config, mesh, data, validation, run, network, tx, total_steps)


def _open(console: Console, job: Job) -> Checkpoints:
    """Takes the run's folder, and checks the saved run, if there is one, against configuration and data."""
    job.run.lock()
    checkpoints = Checkpoints(
        job.run.steps_path,
        keep_newest=job.config.keep_newest,
        keep_every_steps=job.config.keep_every_steps,
        about={"config": dataclasses.asdict(job.config), "data": job.fingerprints, "versions": run_folder.versions()},
        is_writer=True,
    )
    for name in job.run.mend(checkpoints.about_newest()):
        console.print(f"warning: {job.run.path}/{name} was missing or damaged: written anew from a checkpoint")
    job.run.start_or_continue(job.config, job.fingerprints)
    return checkpoints


def _parse_command_line() -> tuple[Config, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="python -m svhn_jax.train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parallel.add_arguments(parser)
    known, rest = parser.parse_known_args()
    if known.config is None and not {"-h", "--help"} & set(rest):
        raise InputError("no --config given; for example --config configs/demo.py")
    config = config_files.load(known.config) if known.config else Config()
    description = (
        f"{__doc__}\n\nAlso: --config FILE, the configuration these options override; --coordinator HOST:PORT, "
        "--processes COUNT and --process INDEX, for one of many processes started by hand."
    )
    return config_files.override(config, rest, description), known


def _describe(console: Console, job: Job, placement: feeding.Placement) -> None:
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
        "epochs": f"{config.num_epochs:g}, {job.total_steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": window if config.augment.random_crop else f"no (the middle {window})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {params:,} parameters, "
        f"{macs / 1e6:,.1f} million multiply-accumulates an image, {config.model.compute_dtype}",
    }
    if config.steps_per_dispatch > 1 and devices[0].platform == "cpu":
        rows["warning"] = "steps_per_dispatch is more than 1, which makes training many times slower on a CPU"
    for name, text in rows.items():
        console.print(f"{name + ':':15}{text}", soft_wrap=True)


def _start_or_restore(console: Console, job: Job, checkpoints: Checkpoints | None) -> TrainState:
    """The state of the newest whole checkpoint, read by the main process for all, or a fresh one."""
    everywhere = parallel.replicated(job.mesh)
    abstract = jax.eval_shape(job.fresh_state)
    restored = parallel.on_main(lambda: _restore(console, checkpoints, abstract) if checkpoints else None)
    if not parallel.from_main(np.array(restored is not None)):
        console.print(f"No checkpoint in {job.run.steps_path}: begins at step 0", soft_wrap=True)
        return jax.jit(job.fresh_state, out_shardings=everywhere)()
    state = parallel.from_main(restored or jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract))
    console.print(f"Restored step {int(state.step)} from {job.run.steps_path}", soft_wrap=True)
    return parallel.put(state, everywhere)


def _restore(console: Console, checkpoints: Checkpoints, abstract: TrainState) -> TrainState | None:
    state = checkpoints.restore_newest(abstract, lambda text: console.print(f"warning: {text}", soft_wrap=True))
    if state and (saved := checkpoints.about(int(state.step)).get("versions")) not in (None, run_folder.versions()):
        now = run_folder.versions()
        changed = ", ".join(f"{name} {saved.get(name)} -> {now[name]}" for name in now if saved.get(name) != now[name])
        console.print(
            f"note: other versions than the checkpoint's, so its last bits may differ: {changed}", soft_wrap=True
        )
    return state


@contextmanager
def _naming_the_run(run: RunFolder) -> Iterator[None]:
    """Within the block an error of the disk names at least the run: one of a file already open names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(run.path)
        raise


if __name__ == "__main__":
    sys.argv[0] = "python -m svhn_jax.train"
    run_command(main)
