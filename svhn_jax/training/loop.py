"""The train loop: step; every so often a line; every so often evaluate, save, draw."""

import math
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from rich.console import Console

from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError, naming_out_of_memory
from svhn_jax.model import metrics
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.logger import RunLogger
from svhn_jax.training import optimizer, processes, profiling, steps
from svhn_jax.training import state as states
from svhn_jax.training.dataset import TrainingSet
from svhn_jax.training.evaluator import score_split
from svhn_jax.training.input_pipeline import InputPipeline
from svhn_jax.training.state import TrainState

MAX_SKIPPED = 100  # updates in a row that skip_nonfinite leaves out before the run is stopped


@dataclass(frozen=True)
class RunSetup:
    """All that a run is before its first step."""

    config: Config
    mesh: Mesh
    data: TrainingSet
    validation: Split
    has_test: bool
    run: RunFolder
    network: nn.Module
    total_steps: int

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of each split the run trains or validates on."""
        return {"train": self.data.fingerprint, "validation": self.validation.fingerprint}

    def fresh_state(self) -> TrainState:
        """The state before the first step; a function of the config alone."""
        return states.create(self.config, self.network)


def train(
    console: Console,
    setup: RunSetup,
    is_resident: bool,
    state: TrainState,
    window: dict[str, float],
    checkpoints: Checkpoints | None,
    received: list[int],
) -> int:
    """Trains to the last step, or until a signal was received, and then saves. Returns the last step.

    Args:
      window: sums of the steps since the last log line before `state` was saved; empty at the start of a run.

    Raises:
      InputError: the run has diverged, or memory does not suffice.
    """
    config, step = setup.config, int(state.step)
    train_step = steps.compile_train_step(config, setup.network, setup.total_steps, setup.mesh)
    eval_step = steps.compile_eval_step(config, setup.network, setup.mesh)
    learning_rate = optimizer.schedule(config.optimizer, setup.total_steps)
    pipeline = processes.all_or_none(lambda: InputPipeline(config, setup.data, setup.mesh, is_resident=is_resident))
    batches = pipeline.batches(step, setup.total_steps)
    sums = steps.DeferredMetrics(window)
    watch = _DivergenceWatch(console, config.optimizer.skip_nonfinite, checkpoints)
    with (
        naming_out_of_memory(f"--batch-size is {config.batch_size}, --eval-batch-size {config.eval_batch_size}"),
        RunLogger(
            setup.run, console, step, setup.total_steps, config.batch_size, is_writer=processes.is_process_zero()
        ) as logger,
        closing(batches),
        profiling.few_steps(setup.run.profile_path if config.profile else None, step) as profiler,
        jax.transfer_guard("disallow"),  # no implicit transfers between host and devices; intended ones use "allow"
    ):
        for batch in batches:
            state, step_sums = train_step(state, *batch)
            sums.add(step_sums)  # fetches the sums of the step before, while this one runs
            logger.advance(step)
            step += 1
            profiler.at(step, state)
            is_last = step == setup.total_steps
            if is_last or step % config.log_every_steps == 0:
                rows = sums.take()
                logger.advance(step)
                train_metrics = metrics.summarize(rows)
                watch.check_train(rows, train_metrics, step)
                with jax.transfer_guard("allow"):
                    rate = float(learning_rate(step - 1))
                logger.write_train(step, train_metrics, rate)
                if checkpoints:
                    checkpoints.raise_if_failed()
            if is_last or step % config.eval_every_steps == 0:
                _validate(setup, state, eval_step, step, logger, watch, checkpoints, sums.total())
            if processes.is_stop_agreed(step):
                received.append(signal.SIGTERM)
            if received:
                console.print("stopping: saving this step")
                profiler.drop()
                if checkpoints:
                    checkpoints.save(step, state.tree(), None, sums.total())
                break
    if config.profile and not received:
        console.print(f"trace: {profiler.outcome()}", soft_wrap=True)
    return step


def _validate(
    setup: RunSetup,
    state: TrainState,
    eval_step: Callable[..., Any],
    step: int,
    logger: RunLogger,
    watch: "_DivergenceWatch",
    checkpoints: Checkpoints | None,
    window: dict[str, float],
) -> None:
    """Scores the validation split, saves the step with its metrics, and logs them. Its time is not training time."""
    jax.block_until_ready(state)
    logger.pause()
    variables = state.eval_variables()
    split_metrics, predictions = score_split(
        eval_step, variables, setup.validation, setup.config.eval_batch_size, setup.mesh
    )
    watch.check_validation(split_metrics, step)
    if checkpoints:
        checkpoints.save(step, state.tree(), split_metrics, window)
    logger.write_validation(step, split_metrics, setup.validation, np.asarray(predictions.labels), variables["params"])
    logger.resume()


class _DivergenceWatch:
    """Stops a run whose loss is no longer finite; with skip_nonfinite, one of which every update is skipped."""

    def __init__(self, console: Console, skips: bool, checkpoints: Checkpoints | None):
        self._console, self._skips, self._checkpoints = console, skips, checkpoints
        self._skipped_in_a_row = 0

    def check_train(self, rows: list[dict[str, Any]], figures: dict[str, float], step: int) -> None:
        """Checks the steps up to `step`; warns of skipped updates.

        Args:
          rows: sums of each step since the last log line (the first may be of several).
          figures: of them all.
        """
        if not self._skips:
            self._require_finite(figures["loss"], f"up to step {step}")
            return
        for row in rows:
            self._skipped_in_a_row = 0 if row["examples"] else self._skipped_in_a_row + int(row["updates_skipped"])
        if skipped := int(figures["updates_skipped"]):
            self._console.print(f"warning: step {step}: {skipped} updates since the last line were not finite; skipped")
        if self._skipped_in_a_row >= MAX_SKIPPED:
            self._stop(f"the last {self._skipped_in_a_row} updates, up to step {step}, were all skipped")

    def check_validation(self, figures: dict[str, float], step: int) -> None:
        """Checks a validation."""
        self._require_finite(figures["loss"], f"in the validation of step {step}")

    def _require_finite(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss} {where}")

    def _stop(self, what: str) -> None:
        saved = processes.on_process_zero(self._last_saved)  # only the main process knows
        remedies = ["a lower --optimizer.learning-rate", "--optimizer.clip-norm 1"]
        if not self._skips:
            remedies.append("--optimizer.skip-nonfinite")
        raise InputError(
            f"{what}: the run has diverged{saved or ''}; train under another --name with {' or '.join(remedies)}"
        )

    def _last_saved(self) -> str:
        if not self._checkpoints:
            return ""
        self._checkpoints.wait()
        saved = self._checkpoints.steps()
        return f"; its last checkpoint, step {saved[-1]}, is kept" if saved else "; it has no checkpoint yet"
