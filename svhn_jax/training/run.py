"""A training run from set-up to last step: what python -m svhn_jax.train does."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np

from svhn_jax import files
from svhn_jax.config import Config
from svhn_jax.data.pictures import contact_sheet
from svhn_jax.errors import InputError, naming_out_of_memory
from svhn_jax.model import metrics
from svhn_jax.options import Processes
from svhn_jax.output import Output, Terminal, print_json
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.logger import RunLogger
from svhn_jax.runs.no_checkpoints import NoCheckpoints
from svhn_jax.training import (
    compilation,
    devices,
    input_pipeline,
    optimizer,
    processes,
    profiling,
    signals,
    steps,
)
from svhn_jax.training.divergence import DivergenceWatch
from svhn_jax.training.evaluator import score_split
from svhn_jax.training.input_pipeline import InputPipeline
from svhn_jax.training.setup import RunSetup, describe, open_checkpoints, prepare
from svhn_jax.training.state import TrainState

SAMPLES = 32  # photos shown in TensorBoard


def run(config: Config, place: Processes, printed: Output = Output()) -> int:  # noqa: B008 - it is frozen
    """Trains the run, or continues it. Returns the exit status: 0, or 128 + the signal that stopped it.

        config = config_files.load("configs/demo.py")
        run(config, Processes())

    Raises:
      InputError: data, devices or the saved run do not suit the configuration, or the run has diverged.
      TryAgainError: another process of the run was lost.
    """
    if config.deterministic:
        compilation.make_deterministic()
    is_pod = processes.is_pod()  # joining may hide it
    processes.join_processes(place.coordinator, place.processes, place.process)
    if (
        is_pod
        and not processes.is_joined()
        and place.processes != 1
        and config.runs_dir.startswith(files.REMOTE)
    ):
        raise InputError(
            f"runs_dir is {config.runs_dir}, and this Kubernetes pod has no completion index: several such pods would "
            "write one run; start an indexed Job (completionMode: Indexed), or give --processes 1 if it is the only pod"
        )
    compilation.enable_compilation_cache()
    with processes.naming_lost_processes():
        return _run(config, printed)


def _run(config: Config, printed: Output = Output()) -> int:  # noqa: B008 - it is frozen
    terminal = Terminal(quiet=printed.quiet or not processes.is_process_zero(), json=printed.json)
    setup = processes.all_or_none(lambda: prepare(config))
    processes.check_same(f"{config} {setup.fingerprints}", "a configuration or data")
    placement = input_pipeline.choose_placement(setup.data, config.data.placement, setup.mesh)
    describe(terminal, setup, placement)
    with (
        _naming_the_run(setup.run),
        closing(setup.run),
        processes.on_process_zero(lambda: open_checkpoints(terminal, setup))
        or NoCheckpoints() as checkpoints,
    ):
        state, window = _start_or_restore(terminal, setup, checkpoints)
        step, received = int(state.step), []
        if step >= setup.total_steps:
            terminal.print(f"Nothing left to train: the run has its {setup.total_steps} steps")
        else:
            with signals.noted() as received:
                step = train(
                    terminal, setup, placement.is_resident, state, window, checkpoints, received
                )
                checkpoints.wait()
        best = checkpoints.best_step()
    is_stopped = bool(received) and step < setup.total_steps
    if processes.is_process_zero():
        result = {
            "run": str(setup.run.path),
            "step": step,
            "total_steps": setup.total_steps,
            "best_step": best,
        }
        print_json(printed, result | {"is_stopped": is_stopped})
    if is_stopped:
        terminal.print(
            f"Saved step {step} to {setup.run.steps_path}; the same command goes on from there"
        )
        return 128 + received[0]
    split = "test" if setup.has_test else "validation"
    terminal.print(
        f"Done: {setup.total_steps} steps in {setup.run.path}; best on validation: step {best}. Next:\n"
        f"  python -m svhn_jax.evaluate --run {setup.run.path} --split {split} --step best"
    )
    return 0


def _start_or_restore(
    terminal: Terminal, setup: RunSetup, checkpoints: Checkpoints | NoCheckpoints
) -> tuple[TrainState, dict[str, float]]:
    """The state to continue from, and the sums of the steps since the last log line before it.

    Process 0 reads the newest undamaged checkpoint and sends it to all; without one, the state is a fresh one.
    """
    everywhere = devices.replicated(setup.mesh)
    abstract = jax.eval_shape(setup.fresh_state).tree()
    restored = processes.on_process_zero(lambda: _restore(checkpoints, abstract))
    tree, window = restored or (None, {})
    if not processes.broadcast_from_zero(np.array(tree is not None)):
        terminal.print(
            f"No checkpoint in {setup.run.steps_path}: begins at step 0; compiling the initial state"
        )
        return jax.jit(setup.fresh_state, out_shardings=everywhere)(), {}
    tree = tree or jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
    state = TrainState(**processes.broadcast_from_zero(tree))
    window = json.loads(processes.broadcast_text(json.dumps(window)))
    terminal.print(f"Restored step {int(state.step)} from {setup.run.steps_path}")
    return devices.put(state, everywhere), window


def _restore(
    checkpoints: Checkpoints | NoCheckpoints, abstract: Any
) -> tuple[Any, dict[str, float]]:
    """The tree of the newest undamaged step, None if there is none, and its sums since the last log line."""
    tree = checkpoints.restore_newest(abstract)
    return tree, checkpoints.window(int(tree["step"])) if tree else {}


def train(
    terminal: Terminal,
    setup: RunSetup,
    is_resident: bool,
    state: TrainState,
    window: dict[str, float],
    checkpoints: Checkpoints | NoCheckpoints,
    received: list[int],
) -> int:
    """Trains to the last step, or until a signal is received, and saves. Returns the last step.

    Args:
      window: sums of the steps since the last log line before `state` was saved; empty at the start of a run.

    Raises:
      InputError: the run has diverged, or memory is exhausted.
    """
    config, step = setup.config, int(state.step)
    train_step = steps.compile_train_step(config, setup.network, setup.total_steps, setup.mesh)
    eval_step = steps.compile_eval_step(config, setup.network, setup.mesh)
    learning_rate = optimizer.host_schedule(config.optimizer, setup.total_steps)
    pipeline = processes.all_or_none(
        lambda: InputPipeline(config, setup.data, setup.mesh, is_resident=is_resident)
    )
    batches = pipeline.batches(step, setup.total_steps)
    sums = steps.DeferredMetrics(window)
    watch = DivergenceWatch(terminal, config.optimizer.skip_nonfinite, checkpoints)
    with (
        naming_out_of_memory(
            f"--batch-size is {config.batch_size}, --eval-batch-size {config.eval_batch_size}"
        ),
        RunLogger(
            setup.run,
            terminal,
            step,
            setup.total_steps,
            config,
            is_writer=processes.is_process_zero(),
        ) as logger,
        closing(batches),
        profiling.few_steps(setup.run.profile_path if config.profile else None, step) as profiler,
        jax.transfer_guard(
            "disallow"
        ),  # no implicit transfers between host and devices; intended ones use "allow"
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
                train_metrics = metrics.summarize(rows, config.model.max_digits)
                watch.check_train(rows, train_metrics, step)
                logger.write_train(step, train_metrics, learning_rate(step - 1))
                checkpoints.raise_if_failed()
            if is_last or step % config.eval_every_steps == 0:
                _validate(setup, state, eval_step, step, logger, watch, checkpoints, sums.total())
            if processes.is_stop_agreed(step):
                received.append(signal.SIGTERM)
            if received:
                terminal.print("stopping: saving this step")
                profiler.drop()
                checkpoints.save(step, state.tree(), None, sums.total())
                break
    if config.profile and not received:
        terminal.print(f"trace: {profiler.outcome()}")
    return step


def _validate(
    setup: RunSetup,
    state: TrainState,
    eval_step: Callable[..., Any],
    step: int,
    logger: RunLogger,
    watch: DivergenceWatch,
    checkpoints: Checkpoints | NoCheckpoints,
    window: dict[str, float],
) -> None:
    """Scores the validation split, saves the step with its metrics, and logs them, outside the images/s clock."""
    jax.block_until_ready(state)
    logger.pause()
    variables = state.eval_variables()
    split_metrics, predictions = score_split(
        eval_step, variables, setup.validation, setup.config.eval_batch_size, setup.mesh
    )
    watch.check_validation(split_metrics, step)
    checkpoints.save(step, state.tree(), split_metrics, window)
    photos, labels = (part[:SAMPLES] for part in (setup.validation.images, setup.validation.labels))
    predicted = np.asarray(predictions.labels[:SAMPLES])
    sheet = partial(contact_sheet, photos, labels, predicted)
    logger.write_validation(step, split_metrics, sheet, variables["params"])
    logger.resume()


@contextmanager
def _naming_the_run(run: RunFolder) -> Iterator[None]:
    """Adds the run's folder to an OSError that names no file, as errors of open files do."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(run.path)
        raise
