"""Scores saved steps of a run on one split of a data set."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from etils import epath

from svhn_jax.config import Config
from svhn_jax.data import arrays, remote
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.inference import predictions
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.weights import choose_steps, load_variables
from svhn_jax.model import inputs, networks
from svhn_jax.model.settings import own_settings
from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.results import merge_results, write_predictions
from svhn_jax.training import devices, evaluator
from svhn_jax.training.dataset import load_images

Advance = Callable[[int], object]


class Scorer:
    """A run and a split, ready to score any saved step; the eval step is compiled once.

    run, config, split: opened. folder: of the data. name: of the results table, without .csv:
    SPLIT; SPLIT-FOLDER-FINGERPRINT of other data; with -tta for averaged windows.
    """

    @own_settings()
    def __init__(
        self,
        run: str,
        split: str = "validation",
        data: str | None = None,
        *,
        tta: bool = False,
        batch_size: int | None = None,
    ):
        """Opens run and split.

        Args:
          run: the run's folder. split: train, validation or test.
          data: a prepared data set; None: the run's own.
          tta: average five windows of each crop. batch_size: None: the configuration's.

        Raises:
          InputError: there is no such run or split, or they do not fit.
        """
        self.run = RunFolder(run)
        self.config: Config = self.run.config()
        self.split, self.folder = open_split(self.run, split, data)
        other = f"-{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(data).name)}" if data else ""
        fingerprint = f"-{self.split.fingerprint[:8]}" if data else ""
        self.name = f"{split}{other}{fingerprint}{'-tta' if tta else ''}"
        self._batch_size = batch_size or self.config.eval_batch_size
        self._mesh, views = devices.make_mesh(), len(inputs.VIEWS) if tta else 1
        network = networks.build(self.config.model)
        self._eval_step = evaluator.compile_eval_step(self.config, network, self._mesh, views)

    @own_settings()
    def score(
        self, checkpoints: Checkpoints, step: int, advance: Advance = lambda count: None
    ) -> tuple[dict[str, float], PredictionTable]:
        """The metrics of a saved step on the whole split, and its predictions.

        Raises:
          CheckpointError: the step cannot be read.
        """
        loaded = load_variables(self.run, checkpoints, step)
        variables = devices.put(loaded, devices.replicated(self._mesh))
        metrics, predicted = evaluator.score_split(
            self._eval_step, variables, self.split, self._batch_size, self._mesh, advance
        )
        table = predictions.tabulate(self.split, predicted)
        return metrics | predictions.summarize(table), table

    def write(self, step: int, metrics: dict[str, float], table: PredictionTable) -> None:
        """Writes the predictions of a step, and merges its metrics into the results table."""
        write_predictions(self.run, self.name, step, table.to_csv())
        merge_results(self.run, self.name, {step: metrics})


class Scored(NamedTuple):
    """One saved step, scored; run, config, split, folder and name as in `Scorer`."""

    run: RunFolder
    config: Config
    split: Split
    folder: str
    name: str
    step: int
    metrics: dict[str, float]
    table: PredictionTable


def score_step(
    run: str,
    split: str = "test",
    step: str | int = "best",
    data: str | None = None,
    *,
    tta: bool = False,
    terminal: Terminal = SILENT,
) -> Scored:
    """Scores one step of a run and writes nothing.

        scored = score_step("checkpoints/demo", "test")
        scored.metrics["sequence_accuracy"], scored.table.is_right

    Raises:
      InputError: there is no such run, step or data.
      CheckpointError: the step is damaged.
    """
    scorer = Scorer(run, split, data, tta=tta)
    with Checkpoints(scorer.run.steps_path) as checkpoints:
        number = choose_steps(step, checkpoints, scorer.run)[-1]
        with terminal.progress(f"step {number}", len(scorer.split.images), "photos") as advance:
            metrics, table = scorer.score(checkpoints, number, advance)
    opened = scorer.run, scorer.config, scorer.split, scorer.folder, scorer.name
    return Scored(*opened, number, metrics, table)


def open_split(run: RunFolder, split: str, data: str | None = None) -> tuple[Split, str]:
    """A split to score a run on, and its folder: `data`, else that of the run's training.

    The latter is where the configuration says, or at the recorded absolute path.

    Raises:
      InputError: the split is missing, not the run's own data, or cropped by another rule.
    """
    record, config = run.data(), run.config()
    rule = record.crop, f"the run {run.path}"
    if data is not None:
        return _load(data, split, config, rule), data
    folders = dict.fromkeys((config.data.dir, record.folder))
    there = [folder for folder in folders if (epath.Path(folder) / arrays.MANIFEST).exists()]
    problems = []
    for folder in there:
        try:
            own = load_images(folder, "validation", config, rule)
        except InputError as error:  # the next folder may hold the run's own data
            problems.append(str(error))
            continue
        if own.fingerprint == record.fingerprints["validation"]:
            return _load(folder, split, config, rule), folder
        problems.append(f"the data in {folder} have changed since the run was trained")
    remedy = "give --data DIR, a prepared data set"
    missing = f"{run.path}: its data are not in {' or '.join(folders)}"
    raise InputError(f"{problems[0] if problems else missing}; {remedy}")


def _load(folder: str, split: str, config: Config, rule: Any) -> Split:
    there = arrays.nonempty_splits(remote.local(folder))
    if split not in there:
        raise InputError(f"{folder}: has no {split} images; give --split {' or '.join(there)}")
    return load_images(folder, split, config, rule)
