"""Scores saved steps of a run: what python -m svhn_jax.evaluate does."""

import re
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import linen as nn
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from svhn_jax import config_files
from svhn_jax.config import Config
from svhn_jax.data import arrays, remote
from svhn_jax.data.arrays import Split
from svhn_jax.data.pictures import contact_sheet
from svhn_jax.errors import CheckpointError, InputError, naming_out_of_memory, printable
from svhn_jax.inference.weights import load_variables
from svhn_jax.model import networks
from svhn_jax.options import Evaluate
from svhn_jax.runs import versions
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.results import RESULT_COLUMNS, merge_results, results_path
from svhn_jax.training import compilation, devices, processes, steps
from svhn_jax.training import state as states
from svhn_jax.training.dataset import load_images
from svhn_jax.training.evaluator import score_split

SHEET_IMAGES = 24


def run(options: Evaluate) -> int:
    """Scores the steps, prints and saves the table. Returns the exit status: 1 where a checkpoint was damaged.

    Raises:
      InputError: there is no such run, step or data.
      TryAgainError: another process was lost.
    """
    processes.join_processes(options.processes.coordinator, options.processes.processes, options.processes.process)
    compilation.enable_compilation_cache()
    with processes.naming_lost_processes(), naming_out_of_memory("the batch is set by --batch-size"):
        return _evaluate(options)


def _evaluate(options: Evaluate) -> int:
    console = Console(highlight=False, markup=False, quiet=not processes.is_process_zero())
    run, config, batch_size, split, folder = processes.all_or_none(lambda: _read(options))
    name = _result_name(options, split)
    mesh = devices.make_mesh()
    network = networks.build(config.model)
    abstract = states.abstract_variables(config, network)
    eval_step = steps.compile_eval_step(config, network, mesh)
    processes.check_same(f"{options.split} {split.fingerprint} {batch_size} {config}", "a run, data or options")
    rows: dict[int, dict[str, float]] = {}
    damaged: list[str] = []
    with processes.on_process_zero(lambda: Checkpoints(run.steps_path)) or nullcontext() as checkpoints:
        chosen = processes.on_process_zero(
            lambda: _steps_to_score(console, options, checkpoints, run) if checkpoints else []
        )
        count = int(processes.broadcast_from_zero(np.array(len(chosen or []))))
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            for index in bar.track(range(count), description=f"{options.split}: steps"):
                step = chosen[index] if chosen else 0
                load = partial(_load, checkpoints, step, config, network, damaged, count)
                loaded = processes.on_process_zero(load)
                if not processes.broadcast_from_zero(np.array(loaded is not None)):
                    continue
                variables = processes.broadcast_from_zero(loaded or _zeros(abstract))
                variables = devices.put(variables, devices.replicated(mesh))
                rows[step], predictions = score_split(eval_step, variables, split, batch_size, mesh)
                processes.on_process_zero(partial(merge_results, run, name, {step: rows[step]}, split.fingerprint))
    if not rows:
        raise InputError(f"{run.path}: none of its {count} checkpoints is whole", damaged)
    _print_table(console, printable(f"{config.name}: {options.split} of {folder}"), rows)
    console.print(f"written to {results_path(run, name)}", soft_wrap=True)
    if options.sheet and processes.is_process_zero():
        shown = slice(SHEET_IMAGES)
        contact_sheet(split.images[shown], split.labels[shown], np.asarray(predictions.labels[shown])).save(
            options.sheet
        )
        console.print(f"{options.sheet}: the first photos, as step {max(rows)} reads them", soft_wrap=True)
    for text in damaged:
        console.print(f"left out: {text}", soft_wrap=True)
    return int(bool(damaged))


def _read(options: Evaluate) -> tuple[RunFolder, Config, int, Split, str]:
    """The run, its configuration, the batch size, the images and the folder they are from."""
    run = RunFolder(_folder_of(options))
    config = run.config()
    batch_size = config.eval_batch_size if options.batch_size is None else options.batch_size
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; it must be at least 1")
    return run, config, batch_size, *_load_split(options, run, config)


def _load(
    checkpoints: Checkpoints | None, step: int, config: Config, network: nn.Module, damaged: list[str], count: int
) -> Any:
    """The network's variables of a step; if one of several steps is damaged, None, and its error added to `damaged`."""
    if not checkpoints:
        return None
    try:
        return load_variables(checkpoints, step, config, network)
    except CheckpointError as error:
        if count == 1:
            remedy = "give another --step, or run the same train command: it passes over a damaged step"
            raise CheckpointError(f"{error}; {remedy}") from None
        damaged.append(str(error))
        return None


def _zeros(abstract: Any) -> Any:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)


def _folder_of(options: Evaluate) -> str:
    if (options.config is None) == (options.run is None):
        raise InputError("give either --config FILE or --run FOLDER")
    if options.run is not None:
        return options.run
    config: Config = config_files.load(options.config or "")
    return f"{config.runs_dir}/{config.name}"


def _load_split(options: Evaluate, run: RunFolder, config: Config) -> tuple[Split, str]:
    """The split to score, and its folder: --data, else `data.dir` of the run, else the recorded absolute path.

    Raises:
      InputError: the split is missing, not the data of the run, or cropped by another rule.
    """
    record = run.data()
    if options.data is not None:
        _require_split(options.data, options.split)
        return load_images(options.data, options.split, config, (record.crop, f"the run {run.path}")), options.data
    folders = dict.fromkeys((config.data.dir, record.folder))
    there = [folder for folder in folders if (epath.Path(folder) / arrays.MANIFEST).exists()]
    damaged: list[InputError] = []
    for folder in there:
        try:
            validation = load_images(folder, "validation", config)
        except InputError as error:  # the next folder may hold the run's own data
            damaged.append(error)
            continue
        if (validation.fingerprint, validation.crop) == (record.fingerprints["validation"], record.crop):
            _require_split(folder, options.split)
            return load_images(folder, options.split, config), folder
    if damaged:
        raise damaged[0]
    if there:
        raise InputError(
            f"{run.path}: the data in {there[0]} have changed since it was trained; "
            "give --data DIR to score it on what is there now"
        )
    raise InputError(
        f"{run.path}: the data it was trained with are not in {' or '.join(folders)} any more; "
        "give --data DIR, the folder where they are"
    )


def _require_split(folder: str, split: str) -> None:
    """Raises InputError, naming the splits there are, if the data set has no such split."""
    there = arrays.nonempty_splits(remote.local(folder))
    if split not in there:
        raise InputError(f"{folder}: has no {split} images; give --split {' or '.join(there)}")


def _result_name(options: Evaluate, split: Split) -> str:
    """SPLIT for the run's own data; SPLIT-FOLDER-FINGERPRINT for others, so that no table mixes them."""
    if options.data is None:
        return options.split
    return f"{options.split}-{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(options.data).name)}-{split.fingerprint[:8]}"


def _steps_to_score(console: Console, options: Evaluate, checkpoints: Checkpoints, run: RunFolder) -> list[int]:
    """The chosen steps; prints warnings and version notes on them.

    Raises:
      InputError: there is no such step, or config.json is not the configuration of the checkpoints.
    """
    run.refuse_changed_config(checkpoints.newest_metadata())
    if options.step in ("best", "all"):
        checkpoints.tell_damaged_metrics(lambda text: console.print(f"warning: {text}", soft_wrap=True))
    chosen = _choose_steps(options.step, checkpoints, run)
    for note in versions.notes(checkpoints.metadata(step).get("versions", {}) for step in chosen):
        console.print(note, soft_wrap=True)
    return chosen


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
            raise InputError(f"{run.path}: no saved step has validation metrics; give --step latest or a number")
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
