"""Scores saved steps of a run: what python -m svhn_jax.evaluate does."""

import json
import re
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from svhn_jax import config_files
from svhn_jax.config import Config
from svhn_jax.data import arrays, remote
from svhn_jax.data.arrays import Split
from svhn_jax.data.pictures import contact_sheet
from svhn_jax.errors import CheckpointError, InputError, naming_out_of_memory, printable
from svhn_jax.inference import predictions, scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.labels import MAX_DIGITS
from svhn_jax.model import networks
from svhn_jax.options import Evaluate
from svhn_jax.runs import versions
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training import compilation, devices, processes, steps
from svhn_jax.training import state as states
from svhn_jax.training.dataset import load_images
from svhn_jax.training.evaluator import score_split

SHEET_IMAGES = 24
SHOWN = {  # metrics of the printed table, and their headings
    "loss": "loss",
    "sequence_accuracy": "sequence",
    "digit_accuracy": "per digit",
    "positional_digit_accuracy": "positional",
    "length_accuracy": "length",
}


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


class StepScorer:
    """Scores saved steps of a run on one split; the eval step is compiled once."""

    def __init__(self, config: Config, split: Split, batch_size: int):
        """Makes what all steps share.

        Args:
          split: at least one image.
          batch_size: of the eval step; the result does not depend on it.
        """
        self._split, self._batch_size = split, batch_size
        self._mesh, network = devices.make_mesh(), networks.build(config.model)
        self.abstract = jax.eval_shape(lambda: states.create(config, network)).eval_tree()
        self._eval_step = steps.compile_eval_step(config, network, self._mesh)
        self._is_compiled = False

    def score(self, tree: dict[str, Any]) -> tuple[dict[str, float], PredictionTable]:
        """The metrics of the whole split, images/s among them, and its predictions.

        Args:
          tree: a saved step's part that `self.abstract` describes.
        """
        variables = devices.put(states.eval_variables(tree), devices.replicated(self._mesh))
        if not self._is_compiled:  # so that images/s does not count the time of compiling
            first = self._split._replace(
                images=self._split.images[: self._batch_size], labels=self._split.labels[: self._batch_size]
            )
            score_split(self._eval_step, variables, first, self._batch_size, self._mesh)
            self._is_compiled = True
        started = time.perf_counter()
        metrics, predicted = score_split(self._eval_step, variables, self._split, self._batch_size, self._mesh)
        rate = len(self._split.images) / (time.perf_counter() - started)
        table = predictions.tabulate(self._split, predicted)
        return metrics | predictions.summarize(table) | {"images_per_s": rate}, table


class ScoredStep(NamedTuple):
    """One saved step of a run, scored on the images of `split`, which are of the data set in `folder`."""

    run: RunFolder
    config: Config
    split: Split
    folder: str
    results_name: str
    step: int
    metrics: dict[str, float]
    table: PredictionTable


def score_step(options: Evaluate) -> ScoredStep:
    """Scores one step, in this process alone, and writes nothing.

    Raises:
      InputError: there is no such run, step or data.
    """
    run, config, batch_size, split, folder = _read(options)
    scorer = StepScorer(config, split, batch_size)
    with Checkpoints(run.steps_path) as checkpoints:
        step = _choose_steps(options.step, checkpoints, run)[-1]
        metrics, table = scorer.score(_restore(checkpoints, step, scorer.abstract, [], 1))
    return ScoredStep(run, config, split, folder, _result_name(options, split), step, metrics, table)


def _evaluate(options: Evaluate) -> int:
    console = Console(highlight=False, markup=False, quiet=options.json or not processes.is_process_zero())
    run, config, batch_size, split, folder = processes.all_or_none(lambda: _read(options))
    name = _result_name(options, split)
    scorer = StepScorer(config, split, batch_size)
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
                restored = processes.on_process_zero(
                    partial(_restore, checkpoints, step, scorer.abstract, damaged, count)
                )
                if not processes.broadcast_from_zero(np.array(restored is not None)):
                    continue
                tree = processes.broadcast_from_zero(restored or _zeros(scorer.abstract))
                rows[step], table = scorer.score(tree)
                processes.on_process_zero(partial(run.merge_results, name, {step: rows[step]}, split.fingerprint))
    if not rows:
        raise InputError(f"{run.path}: none of its {count} checkpoints is whole", damaged)
    processes.on_process_zero(lambda: _tell(console, options, run, config, name, folder, rows, table, split))
    for text in damaged:
        console.print(f"left out: {text}", soft_wrap=True)
    return int(bool(damaged))


def _tell(
    console: Console,
    options: Evaluate,
    run: RunFolder,
    config: Config,
    name: str,
    folder: str,
    rows: dict[int, dict[str, float]],
    table: PredictionTable,
    split: Split,
) -> None:
    """Prints the results, and writes the predictions of the last step, and its sheet if one is wanted."""
    step = max(rows)
    path = run.write_predictions(name, step, table.to_csv())
    if options.json:
        print(json.dumps(_as_json(run, options, rows, table)))
    _print_table(console, printable(f"{config.name}: {options.split} of {folder}"), rows)
    _print_details(console, step, rows[step], table)
    console.print(f"written to {run.results_path(name)}", soft_wrap=True)
    console.print(f"predictions of step {step}: {path}", soft_wrap=True)
    if options.sheet:
        shown = slice(SHEET_IMAGES)
        contact_sheet(split.images[shown], split.labels[shown], table.predictions[shown]).save(options.sheet)
        console.print(f"{options.sheet}: the first photos, as step {step} reads them", soft_wrap=True)


def _read(options: Evaluate) -> tuple[RunFolder, Config, int, Split, str]:
    """The run, its configuration, the batch size, the images and the folder they are from."""
    run = RunFolder(_folder_of(options))
    config = run.config()
    batch_size = config.eval_batch_size if options.batch_size is None else options.batch_size
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; it must be at least 1")
    return run, config, batch_size, *_load_split(options, run, config)


def _restore(checkpoints: Checkpoints | None, step: int, abstract: Any, damaged: list[str], count: int) -> Any:
    """What evaluation needs of a step; None, and a word in `damaged`, where one of several cannot be read."""
    if not checkpoints:
        return None
    try:
        return checkpoints.restore(step, abstract, is_partial=True)
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
    """The split to score, and the data set it is of: --data, or the run's own, where it is now or where it was.

    Raises:
      InputError: it is not there, not what the run was trained with, or cropped by another rule.
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
    """Raises InputError, naming the splits that can be scored, where the data set has no such images."""
    there = arrays.nonempty_splits(remote.local(folder))
    if split not in there:
        raise InputError(f"{folder}: has no {split} images; give --split {' or '.join(there)}")


def _result_name(options: Evaluate, split: Split) -> str:
    """SPLIT for the run's own data; SPLIT-FOLDER-FINGERPRINT for others, so that no table mixes them."""
    if options.data is None:
        return options.split
    return f"{options.split}-{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(options.data).name)}-{split.fingerprint[:8]}"


def _steps_to_score(console: Console, options: Evaluate, checkpoints: Checkpoints, run: RunFolder) -> list[int]:
    """The chosen steps; prints what there is to know of them before they are scored.

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
            raise InputError(f"{run.path}: no saved step has validation figures; give --step latest or a number")
        return [best]
    if wanted.isascii() and wanted.isdigit() and int(wanted) in saved:
        return [int(wanted)]
    raise InputError(f"--step is {wanted!r}; it must be latest, best, all or one of {', '.join(map(str, saved))}")


def _print_table(console: Console, title: str, rows: dict[int, dict[str, float]]) -> None:
    table = Table(title=title)
    for heading in ("step", "photos", *SHOWN.values()):
        table.add_column(heading, justify="right")
    for step, row in rows.items():
        table.add_row(str(step), f"{row['examples']:,.0f}", *(f"{row[name]:.4f}" for name in SHOWN))
    console.print(table)


def _print_details(console: Console, step: int, row: dict[str, float], table: PredictionTable) -> None:
    """What else is to know of one step, in lines of at most 80 characters."""
    lengths = {f"> {MAX_DIGITS}" if n > MAX_DIGITS else str(n): x for n, x in predictions.by_length(table).items()}
    positions = {str(n): counts for n, counts in predictions.by_position(table).items()}
    console.print(
        f"step {step}: sequence {row['sequence_accuracy']:.2%} "
        f"(95 % interval {row['sequence_low']:.2%} to {row['sequence_high']:.2%})\n"
        f"coverage: {row['coverage_98']:.1%} of the photos at 98 % accuracy, {row['coverage_99']:.1%} at 99 %\n"
        f"calibration error {row['calibration_error']:.2%}; mean edit distance {row['edit_distance']:.3f}; "
        f"{row['images_per_s']:,.0f} images/s"
    )
    for title, counts in (("right by length:  ", lengths), ("right by position:", positions)):
        shares = (f"{name}: {right / total:.1%} of {total:,}" for name, (right, total) in counts.items())
        console.print(f"{title} " + "; ".join(shares), soft_wrap=True)


def _as_json(run: RunFolder, options: Evaluate, rows: dict[int, dict[str, float]], table: PredictionTable) -> Any:
    """The results for scripts: metrics of every step; of the last one also counts (right, of how many) and confusions."""
    return {
        "run": str(run.path),
        "split": options.split,
        "steps": [{"step": step} | row for step, row in rows.items()],
        "last_step": {
            "step": max(rows),
            "by_length": predictions.by_length(table),
            "by_position": predictions.by_position(table),
            "digit_confusion": scores.digit_confusion(table.truths, table.predictions).tolist(),
            "length_confusion": scores.length_confusion(table.truths, table.predictions).tolist(),
        },
    }
