"""The train loop: steps, log lines, validations, checkpoints."""

import math
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.errors import InputError, naming_out_of_memory
from svhn_jax.output import Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.logger import RunLogger
from svhn_jax.training import optimizer, processes, steps
from svhn_jax.training.dataset import TrainingSet
from svhn_jax.training.input_pipeline import InputPipeline
from svhn_jax.training.steps import TrainState
from svhn_jax.training.task import Task


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
      is_resident: see `input_pipeline.choose_placement`.
      checkpoints: None on all processes but process 0.

    Returns:
      The last step, and the number of the signal that stopped the run, or 0.

    Raises:
      InputError: the run has diverged, memory is exhausted, or a save has failed.
    """
    config, first, last = setup.config, int(state.step), setup.total_steps
    step, rows = first, list[dict[str, jax.Array]]()
    train_step = steps.compile_train_step(setup.task, last, setup.mesh)
    score = setup.task.scorer(setup.validation, setup.mesh)
    learning_rate = optimizer.host_schedule(config.optimizer, last)
    pipeline = processes.all_or_none(
        lambda: InputPipeline(config, setup.data, setup.mesh, is_resident=is_resident)
    )
    is_writer = processes.is_process_zero()
    with (
        naming_out_of_memory(
            f"--batch-size is {config.batch_size}, --eval-batch-size {config.eval_batch_size}"
        ),
        RunLogger(setup.run, terminal, first, last, config, is_writer=is_writer) as logger,
        closing(pipeline.batches(first, last)) as batches,
        processes.stop_signals() as stopped_by,
        jax.transfer_guard("disallow"),  # intended transfers between host and devices use "allow"
    ):
        for batch in batches:
            state, sums = train_step(state, *batch)
            jax.block_until_ready(rows[-1:])  # of the step before, while this one runs
            rows.append(sums)
            logger.advance(step)
            step += 1
            if checkpoints:
                checkpoints.raise_if_failed()
            if step == last or step % config.log_every_steps == 0:
                metrics = setup.task.summarize(jax.device_get(rows))
                _require_finite(metrics["loss"], f"the loss up to step {step}")
                logger.write_train(step, metrics, learning_rate(step - 1))
                rows.clear()
            if step == last or step % config.eval_every_steps == 0:
                metrics = score(state.eval_variables())
                _require_finite(metrics["loss"], f"the validation loss of step {step}")
                _save(checkpoints, step, state, metrics)
                logger.write_validation(step, metrics)
            if step < last and (number := stopped_by(step)):
                terminal.print("stopping: saving this step")
                _save(checkpoints, step, state, None)
                return step, number
    return step, 0


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


@jax.jit
def _is_finite(state: TrainState) -> jax.Array:
    leaves = jax.tree.leaves((state.params, state.batch_stats, state.opt_state, state.ema))
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def _require_finite(loss: float, name: str) -> None:
    if not math.isfinite(loss):
        _stop(f"{name} is {loss}")


def _stop(text: str) -> None:
    raise InputError(
        f"{text}: the run has diverged; train under another --name with a lower "
        "--optimizer.learning-rate or --optimizer.clip-norm 1"
    )
