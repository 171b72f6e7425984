"""python -m svhn_jax.train --config configs/NAME.py [overrides]: trains a run, or goes on with it.

A run is the folder RUNS/NAME (see svhn_jax.run_folder). The same command again goes on from its
newest checkpoint. Ctrl-C or SIGTERM saves first; then the exit status is 130 or 143.
"""

import argparse
import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh
from rich.console import Console

from svhn_jax import augment, config_files, metrics, model, optim, parallel, steps
from svhn_jax import state as states
from svhn_jax.checkpoint import Checkpoints
from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError, run_command
from svhn_jax.run_folder import RunFolder
from svhn_jax.scoring import score_split
from svhn_jax.state import TrainState
from svhn_jax.summaries import Summaries
from svhn_jax.training_data import DataOrder, TrainingSet, load_images, load_training_set


@dataclass(frozen=True)
class Job:
    """All that a run is before its first step."""

    config: Config
    mesh: Mesh
    data: TrainingSet
    validation: Split
    run: RunFolder
    network: nn.Module
    tx: optax.GradientTransformation
    total_steps: int

    def fresh_state(self) -> TrainState:
        """The state before the first step; a function of the config alone."""
        return states.create(self.config, self.network, self.tx)


def main() -> int:
    console = Console(highlight=False, markup=False)
    job = _prepare(_parse_command_line())
    _describe(console, job)
    keep = {"keep_newest": job.config.keep_newest, "keep_every_steps": job.config.keep_every_steps}
    with Checkpoints(job.run.steps_path, **keep, is_writer=True) as checkpoints:
        state = _start_or_restore(console, job, checkpoints)
        with _noting_signals() as received:
            step = _train(console, job, state, checkpoints, received)
        checkpoints.wait()
        best = checkpoints.best_step()
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
    """Checks the configuration against devices, data and the saved run, and claims the run's folder."""
    mesh = parallel.make_mesh()
    parallel.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = load_training_set(config), load_images(config.data.dir, "validation", config)
    run = RunFolder(f"{config.runs_dir}/{config.name}")
    run.lock()
    run.start_or_continue(config, {"train": data.fingerprint, "validation": validation.fingerprint})
    total_steps = max(1, round(config.num_epochs * len(data.epoch) / config.batch_size))
    tx = optim.optimizer(config.optimizer, total_steps)
    return Job(config, mesh, data, validation, run, model.build(config.model), tx, total_steps)


def _parse_command_line() -> Config:
    parser = argparse.ArgumentParser(prog="python -m svhn_jax.train", add_help=False)
    parser.add_argument("--config")
    known, rest = parser.parse_known_args()
    if known.config is None and not {"-h", "--help"} & set(rest):
        raise InputError("no --config given; for example --config configs/demo.py")
    config = config_files.load(known.config) if known.config else Config()
    description = f"{__doc__}\n\nAlso: --config FILE, the configuration these options override."
    return config_files.override(config, rest, description)


def _describe(console: Console, job: Job) -> None:
    config, data = job.config, job.data
    window = f"{config.image.crop} of {data.side} pixels"
    params = model.count_params(jax.eval_shape(job.fresh_state).params)
    macs = model.count_macs(job.network, augment.input_shape(config.image))
    devices = jax.devices()
    rows = {
        "run": f"{config.name}, in {job.run.path}",
        "data": f"{', '.join((config.data.dir, *config.data.mix_in))}: {len(data.labels):,} training images "
        f"({len(data.epoch):,} an epoch), {len(job.validation.labels):,} validation",
        "batch": f"{config.batch_size} images over {len(devices)} device(s): {devices[0].device_kind}",
        "epochs": f"{config.num_epochs:g}, {job.total_steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": window if config.augment.random_crop else f"no (the middle {window})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {params:,} parameters, "
        f"{macs / 1e6:,.1f} million multiply-accumulates an image, {config.model.compute_dtype}",
    }
    for name, text in rows.items():
        console.print(f"{name + ':':15}{text}", soft_wrap=True)


def _start_or_restore(console: Console, job: Job, checkpoints: Checkpoints) -> TrainState:
    everywhere = parallel.replicated(job.mesh)
    state = checkpoints.restore_newest(
        jax.eval_shape(job.fresh_state), everywhere, lambda text: console.print(f"warning: {text}", soft_wrap=True)
    )
    if state:
        console.print(f"Restored step {int(state.step)} from {job.run.steps_path}", soft_wrap=True)
        return state
    return jax.jit(job.fresh_state, out_shardings=everywhere)()


def _train(console: Console, job: Job, state: TrainState, checkpoints: Checkpoints, received: list[int]) -> int:
    """The loop: step; every so often a line; every so often evaluate, save, draw. Returns the last step."""
    config, first_step = job.config, int(state.step)
    if first_step >= job.total_steps:
        console.print(f"Nothing left to train: the run has its {job.total_steps} steps")
        return first_step
    train_step = steps.make_train_step(config, job.network, job.tx, job.mesh)
    eval_step = steps.make_eval_step(config, job.network, job.mesh)
    learning_rate = optim.schedule(config.optimizer, job.total_steps)
    order = DataOrder(job.data.epoch, config.batch_size, config.seed)
    images, labels = parallel.put((job.data.images, job.data.labels), parallel.replicated(job.mesh))
    sums: list[Any] = []
    with Summaries(job.run, console, first_step, job.total_steps, config.batch_size) as summaries:
        for step in range(first_step + 1, job.total_steps + 1):
            rows = parallel.put(order.rows(step - 1), parallel.sharded(job.mesh))
            state, step_sums = train_step(state, images, labels, rows)
            if sums:  # while this step runs, wait for the one before it
                sums[-1] = jax.device_get(sums[-1])
                summaries.advance(step - 1)
            sums.append(step_sums)
            is_last = step == job.total_steps
            if is_last or step % config.log_every_steps == 0:
                figures = _figures_of(console, job, jax.device_get(sums), step)
                _stop_if_diverged(figures["loss"], step, len(sums), checkpoints)
                summaries.write_train(step, figures, float(learning_rate(step - 1)))
                sums = []
            if is_last or step % config.eval_every_steps == 0:
                jax.block_until_ready(state)
                summaries.pause()
                variables = state.eval_variables()
                figures, readings = score_split(eval_step, variables, job.validation, config.eval_batch_size, job.mesh)
                _stop_if_diverged(figures["loss"], step, 1, checkpoints)
                checkpoints.save(state, figures)
                summaries.write_validation(step, figures, job.validation, readings, variables["params"])
                summaries.resume()
            if received:
                console.print("stopping: saving this step")
                checkpoints.save(state, None)
                break
    return step


def _figures_of(console: Console, job: Job, sums: list[Any], step: int) -> dict[str, float]:
    """The figures of the steps up to `step`, and how many of their updates were left out where that is asked for."""
    figures = metrics.summarize(sums)
    if job.config.optimizer.skip_nonfinite:
        left_out = sum(int(row["examples"]) == 0 for row in sums)
        figures["updates_left_out"] = left_out
        if left_out:
            console.print(f"warning: {left_out} of the {len(sums)} updates to step {step} were not finite; left out")
    return figures


def _stop_if_diverged(loss: float, step: int, count: int, checkpoints: Checkpoints) -> None:
    """Stops the run where the loss of the `count` steps up to `step` is not finite."""
    if not math.isfinite(loss):
        checkpoints.wait()
        saved = (
            f"its last checkpoint, step {checkpoints.steps()[-1]}, is kept"
            if checkpoints.steps()
            else "it has no checkpoint yet"
        )
        where = f"at step {step}" if count == 1 else f"in steps {step - count + 1} to {step}"
        raise InputError(
            f"the loss is {loss} {where}: the run has diverged; {saved}; train under another --name with a lower "
            "--optimizer.learning-rate, a --optimizer.clip-norm, or --optimizer.skip-nonfinite"
        )


@contextmanager
def _noting_signals() -> Iterator[list[int]]:
    """Within the block SIGINT and SIGTERM are put in the list yielded; a second one interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.argv[0] = "python -m svhn_jax.train"
    run_command(main)
