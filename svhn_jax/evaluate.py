"""python -m svhn_jax.evaluate --run FOLDER --split test --step best: scores saved steps of a run.

Every figure is over the whole split. Prints a table and merges it into FOLDER/results/SPLIT.csv
(with --data: SPLIT-NAME-FINGERPRINT.csv).
"""

import re
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from svhn_jax import compiling, config_files, model, optim, parallel, signals, steps
from svhn_jax import state as states
from svhn_jax.checkpoint import Checkpoints
from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.errors import CheckpointError, InputError, run_command
from svhn_jax.run_folder import RESULT_COLUMNS, RunFolder
from svhn_jax.scoring import score_split
from svhn_jax.state import TrainState
from svhn_jax.training_data import load_images


@dataclass(frozen=True)
class Options:
    """Scores saved steps of a run on a split."""

    config: Path | None = None
    """the configuration file of the run; or give --run"""
    run: str | None = None
    """the run's folder, which carries its own configuration"""
    split: Literal["train", "validation", "test"] = "validation"
    """what to read"""
    step: str = "latest"
    """latest, best (on validation while training), all, or a step's number"""
    data: str | None = None
    """another prepared data set than the run's own"""
    batch_size: int | None = None
    """images at once; the result does not depend on it"""
    coordinator: str | None = None
    """HOST:PORT of process 0, for one of many processes started by hand"""
    processes: int | None = None
    """how many they are; 1: this one alone, whatever the environment says"""
    process: int | None = None
    """which of them this is, from 0"""


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    signals.end_at_sigterm()
    parallel.join_processes(options.coordinator, options.processes, options.process)
    compiling.keep_compiled()
    with parallel.naming_lost_processes():
        return _evaluate(options)


def _evaluate(options: Options) -> int:
    console = Console(highlight=False, markup=False, quiet=not parallel.is_main())
    run, config, batch_size, split, name = parallel.jointly(lambda: _read(options))
    mesh = parallel.make_mesh()
    network = model.build(config.model)
    abstract = jax.eval_shape(lambda: states.create(config, network, optim.optimizer(config.optimizer, 1)))
    eval_step = steps.make_eval_step(config, network, mesh)
    parallel.check_same(f"{options.split} {split.fingerprint} {batch_size} {config}", "a run, data or options")
    rows: dict[int, dict[str, float]] = {}
    damaged: list[str] = []
    with parallel.on_main(lambda: Checkpoints(run.steps_path)) or nullcontext() as checkpoints:
        chosen = parallel.on_main(lambda: _choose_steps(options.step, checkpoints, run) if checkpoints else [])
        count = int(parallel.from_main(np.array(len(chosen or []))))
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            for index in bar.track(range(count), description=f"{options.split}: steps"):
                step = chosen[index] if chosen else 0
                restored = parallel.on_main(partial(_restore, checkpoints, step, abstract, damaged, count))
                if not parallel.from_main(np.array(restored is not None)):
                    continue
                variables = parallel.from_main(restored or _zeros(abstract.eval_variables()))
                variables = parallel.put(variables, parallel.replicated(mesh))
                rows[step], _ = score_split(eval_step, variables, split, batch_size, mesh)
                if parallel.is_main():
                    run.merge_results(name, {step: rows[step]}, split.fingerprint)
    if not rows:
        raise InputError(f"{run.path}: none of its {count} checkpoints is whole", damaged)
    _print_table(console, f"{config.name}: {options.split} of {options.data or config.data.dir}", rows)
    console.print(f"written to {run.results_path(name)}", soft_wrap=True)
    for text in damaged:
        console.print(f"left out: {text}", soft_wrap=True)
    return int(bool(damaged))


def _read(options: Options) -> tuple[RunFolder, Config, int, Split, str]:
    """The run, its configuration, the batch size, the images and the name of their results."""
    run = RunFolder(_folder_of(options))
    config = run.config()
    batch_size = config.eval_batch_size if options.batch_size is None else options.batch_size
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; it must be at least 1")
    split = load_images(options.data or config.data.dir, options.split, config)
    return run, config, batch_size, split, _result_name(options, run, split)


def _restore(checkpoints: Checkpoints | None, step: int, abstract: TrainState, damaged: list[str], count: int) -> Any:
    """What evaluation needs of a step; None, and a word in `damaged`, where one of several cannot be read."""
    if not checkpoints:
        return None
    try:
        return checkpoints.restore_eval_variables(step, abstract)
    except CheckpointError as error:
        if count == 1:
            raise
        damaged.append(str(error))
        return None


def _zeros(abstract: Any) -> Any:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)


def _folder_of(options: Options) -> str:
    if (options.config is None) == (options.run is None):
        raise InputError("give either --config FILE or --run FOLDER")
    if options.run is not None:
        return options.run
    config: Config = config_files.load(options.config or "")
    return f"{config.runs_dir}/{config.name}"


def _result_name(options: Options, run: RunFolder, split: Split) -> str:
    """SPLIT for the run's own data; SPLIT-FOLDER-FINGERPRINT for others, so that no table mixes them."""
    if options.data is not None:
        return f"{options.split}-{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(options.data).name)}-{split.fingerprint[:8]}"
    recorded = run.data_fingerprints().get(options.split)
    if options.split == "validation" and recorded != split.fingerprint:
        raise InputError(
            f"{run.path}: its validation data have changed since it was trained; "
            "give --data DIR to score it on what is there now"
        )
    return options.split


def _choose_steps(wanted: str, checkpoints: Checkpoints, run: RunFolder) -> list[int]:
    saved = checkpoints.steps()
    if not saved:
        raise InputError(f"{run.path}: holds no checkpoint yet; train it first")
    if wanted == "all":
        return saved
    if wanted == "latest":
        return saved[-1:]
    if wanted == "best":
        best = checkpoints.best_step()
        if best is None:
            raise InputError(f"{run.path}: no saved step was validated; give --step latest or a number")
        return [best]
    if wanted.isascii() and wanted.isdigit() and int(wanted) in saved:
        return [int(wanted)]
    raise InputError(f"--step is {wanted!r}; it must be latest, best, all or one of {', '.join(map(str, saved))}")


def _print_table(console: Console, title: str, rows: dict[int, dict[str, float]]) -> None:
    table = Table(title=title)
    for column in RESULT_COLUMNS:
        table.add_column(column.replace("_", " "), justify="right")
    for step, row in rows.items():
        table.add_row(str(step), f"{row['examples']:,.0f}", *(f"{row[name]:.4f}" for name in RESULT_COLUMNS[2:]))
    console.print(table)


if __name__ == "__main__":
    sys.argv[0] = "python -m svhn_jax.evaluate"
    run_command(main)
