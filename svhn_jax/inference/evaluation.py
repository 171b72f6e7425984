"""Scores saved steps of a run: what python -m svhn_jax.evaluate does."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from svhn_jax import output
from svhn_jax.config import Config
from svhn_jax.errors import CheckpointError, InputError, naming_out_of_memory, print_to_stderr
from svhn_jax.inference import tables, watch
from svhn_jax.inference.scoring import StepScorer, write_step
from svhn_jax.inference.source import find, steps_to_score
from svhn_jax.inference.weights import load_asked, load_variables
from svhn_jax.options import Evaluate
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training import compilation, processes
from svhn_jax.training.state import abstract_variables


def run(options: Evaluate) -> int:
    """Scores the steps, prints and saves the table. Returns the exit status: 1 where a checkpoint was damaged.

    Raises:
      InputError: there is no such run, step or data.
      UnfinishedError: --watch, and the run that it follows is no longer trained.
      TryAgainError: another process was lost.
    """
    output.console(options.output)
    processes.join_processes(
        options.processes.coordinator, options.processes.processes, options.processes.process
    )
    compilation.enable_compilation_cache()
    with (
        processes.naming_lost_processes(),
        naming_out_of_memory("the batch is set by --batch-size"),
    ):
        return watch.follow(options) if options.watch else _evaluate(options)


def _evaluate(options: Evaluate) -> int:
    console = output.console(options.output, is_silent=not processes.is_process_zero())
    source = processes.all_or_none(lambda: find(options))
    run, config, split = source.run, source.config, source.split
    processes.on_process_zero(partial(tables.require_writable, options, source))
    scorer = StepScorer(source)
    abstract = abstract_variables(config, scorer.network)
    processes.check_same(
        f"{options.split} {split.fingerprint} {source.batch_size} {config}",
        "a run, data or options",
    )
    rows: dict[int, dict[str, float]] = {}
    damaged: list[str] = []
    with (
        processes.on_process_zero(lambda: Checkpoints(run.steps_path))
        or nullcontext() as checkpoints
    ):
        chosen = processes.on_process_zero(
            lambda: steps_to_score(console, options, checkpoints, run) if checkpoints else []
        )
        count = int(processes.broadcast_from_zero(np.array(len(chosen or []))))
        photos = count * len(split.images)
        with output.progress(f"{options.split}: {count} step(s)", photos, "photos") as advance:
            for index in range(count):
                step = chosen[index] if chosen else 0
                loaded = processes.on_process_zero(
                    partial(_load, run, checkpoints, step, config, scorer.network, damaged, count)
                )
                if not processes.broadcast_from_zero(np.array(loaded is not None)):
                    advance(len(split.images))
                    continue
                variables = processes.broadcast_from_zero(loaded or _zeros(abstract))
                rows[step], table = scorer.score(variables, advance)
                processes.on_process_zero(partial(write_step, source, step, rows[step], table))
    if not rows:
        raise InputError(f"{run.path}: none of its {count} checkpoints is whole", damaged)
    processes.on_process_zero(
        lambda: tables.print_results(console, options, source, rows, (max(rows), table))
    )
    if processes.is_process_zero():
        output.print_json(
            options.output, tables.as_json(str(run.path), options.split, rows, table, damaged)
        )
    for text in damaged:
        print_to_stderr(f"left out: {text}")
    return int(bool(damaged))


def _load(
    run: RunFolder,
    checkpoints: Checkpoints | None,
    step: int,
    config: Config,
    network: nn.Module,
    damaged: list[str],
    count: int,
) -> Any:
    """The network's variables of a step; if one of several steps is damaged, None, and its error added to `damaged`."""
    if not checkpoints:
        return None
    if count == 1:
        return load_asked(run, checkpoints, step, config, network)
    try:
        return load_variables(checkpoints, step, config, network)
    except CheckpointError as error:
        damaged.append(str(error))
        return None


def _zeros(abstract: Any) -> Any:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
