"""The train loop: steps, log lines, validations, checkpoints."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.errors import InputError, naming_out_of_memory
from svhn_jax.model.metrics import add_up
from svhn_jax.output import Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.logger import RunLogger
from svhn_jax.training import optimizer, processes, steps
from svhn_jax.training.dataset import TrainingSet
from svhn_jax.training.input_pipeline import InputPipeline
from svhn_jax.training.state import TrainState
from svhn_jax.training.task import Task

MAX_SKIPPED = 100  # consecutive updates skipped by skip_nonfinite before the run is stopped
PROFILED = range(10, 20)  # steps of this process that --profile records; the first ones compile


@dataclass(frozen=True)
class RunSetup:
    """A run before its first step."""

    config: Config
    task: Task
    mesh: Mesh
    data: TrainingSet
    validation: Any
    run: RunFolder
    total_steps: int

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the splits that it trains and validates on."""
        return {"train": self.data.fingerprint, "validation": self.validation.fingerprint}


def train(
    setup: RunSetup,
    is_resident: bool,
    state: TrainState,
    checkpoints: Checkpoints | None,
    terminal: Terminal,
) -> tuple[int, int]:
    """Trains to the last step, or until a signal, and saves.

    Args:
      is_resident: see `input_pipeline.Placement`.

    Returns:
      The last step, and the number of the signal that stopped the run, or 0.

    Raises:
      InputError: the run has diverged, or memory is exhausted.
    """
    config, first = setup.config, int(state.step)
    step, last = first, setup.total_steps
    train_step = steps.compile_train_step(setup.task, last, setup.mesh)
    score = setup.task.scorer(setup.validation, setup.mesh)
    learning_rate = optimizer.host_schedule(config.optimizer, last)
    pipeline = processes.all_or_none(
        lambda: InputPipeline(config, setup.data, setup.mesh, is_resident=is_resident)
    )
    sums, summarize = steps.LateSums(), _Summary(setup, terminal)
    is_writer = processes.is_process_zero()
    profiled = setup.run.profile_path if config.profile and is_writer else None
    with (
        naming_out_of_memory(
            f"--batch-size is {config.batch_size}, --eval-batch-size {config.eval_batch_size}"
        ),
        RunLogger(setup.run, terminal, first, last, config, is_writer=is_writer) as logger,
        closing(pipeline.batches(first, last)) as batches,
        processes.stop_signals() as stopped_by,
        _profiling(profiled, terminal) as profile,
        jax.transfer_guard("disallow"),  # intended transfers between host and devices use "allow"
    ):
        for batch in batches:
            state, step_sums = train_step(state, *batch)
            sums.add(step_sums)  # fetches the sums of the step before, while this one runs
            logger.advance(step)
            step += 1
            profile(step - first, state)
            if step == last or step % config.log_every_steps == 0:
                rows = sums.rows()
                logger.advance(step)
                logger.write_train(step, summarize(rows, step), learning_rate(step - 1))
                rows.clear()
            if step == last or step % config.eval_every_steps == 0:
                jax.block_until_ready(state)
                logger.pause()  # the clock of images/s
                variables = state.eval_variables()
                scored = score(variables)
                _require_finite(scored.metrics["loss"], f"the validation loss of step {step}")
                _save(checkpoints, step, state, scored.metrics)
                logger.write_validation(step, scored.metrics, scored.draw, variables["params"])
                logger.resume()
            if step < last and (number := stopped_by(step)):
                terminal.print("stopping: saving this step")
                _save(checkpoints, step, state, None)
                return step, number
    return step, 0


class _Summary:
    """Metrics of a log line; stops a run that has diverged.

    With skip_nonfinite, a run whose last MAX_SKIPPED updates were all skipped.
    """

    def __init__(self, setup: RunSetup, terminal: Terminal):
        self._task, self._terminal, self._skipped_in_a_row = setup.task, terminal, 0

    def __call__(self, rows: Sequence[Mapping[str, Any]], step: int) -> dict[str, float]:
        """rows: sums of each step."""
        metrics = self._task.summarize(rows)
        if not self._task.config.optimizer.skip_nonfinite:
            _require_finite(metrics["loss"], f"the loss up to step {step}")
            return metrics
        for row in rows:
            self._skipped_in_a_row = 0 if row["examples"] else self._skipped_in_a_row + 1
        skipped = add_up(rows)["updates_skipped"]
        if skipped:
            self._terminal.warn(
                f"step {step}: {skipped:.0f} updates since the last line were not finite; skipped"
            )
        if self._skipped_in_a_row >= MAX_SKIPPED:
            _stop(f"the last {self._skipped_in_a_row} updates, up to step {step}, were all skipped")
        return metrics | {"updates_skipped": skipped}


def _save(
    checkpoints: Checkpoints | None,
    step: int,
    state: TrainState,
    validation: dict[str, float] | None,
) -> None:
    """Saves the state, unless it is not finite: then the run stops."""
    if not jax.device_get(_is_finite(state)):
        _stop(f"the params of step {step} are not finite")
    if checkpoints:
        checkpoints.save(step, state.tree(), validation)


def _require_finite(loss: float, name: str) -> None:
    if not math.isfinite(loss):
        _stop(f"{name} is {loss}")


def _stop(text: str) -> None:
    raise InputError(
        f"{text}: the run has diverged; train under another --name with a lower "
        "--optimizer.learning-rate, --optimizer.clip-norm 1 or --optimizer.skip-nonfinite"
    )


@jax.jit
def _is_finite(state: TrainState) -> jax.Array:
    leaves = jax.tree.leaves((state.params, state.batch_stats, state.opt_state, state.ema))
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


@contextmanager
def _profiling(folder: str | None, terminal: Terminal) -> Iterator[Callable[[int, Any], None]]:
    """Yields a function to call after each step; it records the steps PROFILED to the folder."""
    with ExitStack() as trace:

        def at(count: int, state: Any) -> None:
            if folder and count in (PROFILED.start, PROFILED.stop):
                jax.block_until_ready(state)
                trace.close()
                if count == PROFILED.start:
                    options = jax.profiler.ProfileOptions()
                    options.python_tracer_level = 0  # Python calls would take 100 MB, and 20 s
                    trace.callback(terminal.print, f"trace of a few steps: {folder}")
                    trace.enter_context(jax.profiler.trace(folder, False, True, options))

        yield at
