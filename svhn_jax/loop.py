"""The train loop: step; every so often a line; every so often evaluate, save, draw."""

import math
import signal
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh
from rich.console import Console

from svhn_jax import feeding, metrics, optim, parallel, profiling, steps
from svhn_jax import state as states
from svhn_jax.checkpoint import Checkpoints
from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.run_folder import RunFolder
from svhn_jax.scoring import score_split
from svhn_jax.state import TrainState
from svhn_jax.summaries import Summaries
from svhn_jax.training_data import TrainingSet


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

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of each split the run trains or validates on."""
        return {"train": self.data.fingerprint, "validation": self.validation.fingerprint}

    def fresh_state(self) -> TrainState:
        """The state before the first step; a function of the config alone."""
        return states.create(self.config, self.network, self.tx)


def train(
    console: Console,
    job: Job,
    is_resident: bool,
    state: TrainState,
    checkpoints: Checkpoints | None,
    received: list[int],
) -> int:
    """Trains to the last step, or to the first after a signal was received, which is then saved. Returns that step.

    Raises:
      InputError: the run has diverged, or its images do not fit on the devices.
    """
    config, step = job.config, int(state.step)
    if step >= job.total_steps:
        console.print(f"Nothing left to train: the run has its {job.total_steps} steps")
        return step
    train_step = steps.make_train_step(config, job.network, job.tx, job.mesh, is_streamed=not is_resident)
    eval_step = steps.make_eval_step(config, job.network, job.mesh)
    learning_rate = optim.schedule(config.optimizer, job.total_steps)
    feed = parallel.jointly(lambda: feeding.Feed(config, job.data, job.mesh, is_resident=is_resident))
    work_to_do = feed.work(step, job.total_steps, stops=(config.log_every_steps, config.eval_every_steps))
    sums = steps.LateSums()
    with (
        Summaries(
            job.run, console, step, job.total_steps, config.batch_size, is_writer=parallel.is_main()
        ) as summaries,
        closing(work_to_do),
        profiling.few_steps(job.run.profile_path if config.profile else None, step) as profiler,
        # Whatever crosses between host and devices in this loop is meant to, and says so.
        jax.transfer_guard("disallow"),
    ):
        for dispatch, work in enumerate(work_to_do):
            state, step_sums = train_step(state, work.images, work.labels, work.plan, work.device_count)
            sums.add(step_sums, work.steps)  # while these steps run, waits for those before them
            summaries.advance(step)
            step += work.steps
            profiler.at(step, state)
            is_last = step == job.total_steps
            if is_last or step % config.log_every_steps == 0:
                rows = sums.take()
                summaries.advance(step)
                figures = _figures_of(console, job, rows, step)
                _stop_if_diverged(figures["loss"], step, len(rows), checkpoints)
                with jax.transfer_guard("allow"):
                    rate = float(learning_rate(step - 1))
                summaries.write_train(step, figures, rate)
                if checkpoints:
                    checkpoints.raise_if_failed()
            if is_last or step % config.eval_every_steps == 0:
                jax.block_until_ready(state)
                summaries.pause()
                variables = state.eval_variables()
                figures, readings = score_split(eval_step, variables, job.validation, config.eval_batch_size, job.mesh)
                _stop_if_diverged(figures["loss"], step, 1, checkpoints)
                if checkpoints:
                    checkpoints.save(state, figures)
                summaries.write_validation(step, figures, job.validation, readings, variables["params"])
                summaries.resume()
            if parallel.is_stop_agreed(dispatch):
                received.append(signal.SIGTERM)
            if received:
                console.print("stopping: saving this step")
                profiler.drop()
                if checkpoints:
                    checkpoints.save(state, None)
                break
    if config.profile and not received:
        found = (
            f"in {job.run.profile_path}" if profiler.has_begun else f"none: it takes more than {profiling.FIRST} steps"
        )
        console.print(f"trace: {found}", soft_wrap=True)
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


def _stop_if_diverged(loss: float, step: int, count: int, checkpoints: Checkpoints | None) -> None:
    """Stops the run where the loss of the `count` steps up to `step` is not finite."""
    if math.isfinite(loss):
        return
    where = f"at step {step}" if count == 1 else f"in steps {step - count + 1} to {step}"
    saved = parallel.on_main(lambda: _last_saved(checkpoints))  # the others leave what is known of it to the main one
    raise InputError(
        f"the loss is {loss} {where}: the run has diverged{saved or ''}; train under another --name with a lower "
        "--optimizer.learning-rate, a --optimizer.clip-norm, or --optimizer.skip-nonfinite"
    )


def _last_saved(checkpoints: Checkpoints | None) -> str:
    if not checkpoints:
        return ""
    checkpoints.wait()
    saved = checkpoints.steps()
    return f"; its last checkpoint, step {saved[-1]}, is kept" if saved else "; it has no checkpoint yet"
