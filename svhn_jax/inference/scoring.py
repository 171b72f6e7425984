"""Scores saved steps of a run on one split: one, those saved now, or each as it is saved."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from etils import epath

from svhn_jax.config import Config
from svhn_jax.data import arrays
from svhn_jax.data.arrays import Split
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.inference import predictions
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.reader import choose_step
from svhn_jax.model import inputs, networks
from svhn_jax.model.settings import own_settings
from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.results import merge_results, results
from svhn_jax.training import devices, evaluator
from svhn_jax.training.dataset import load_images

POLL_S = 1.0


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


class Scorer:
    """A run and a split, ready to score any saved step; the eval step is compiled once.

    run, config, split: opened. folder: of the data. name: of the results table, without .csv:
    SPLIT; SPLIT-FOLDER-FINGERPRINT of other data; with -tta for averaged windows.
    damaged: for each step that could not be read, why.
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
        self.damaged: dict[int, str] = {}
        self._batch_size = batch_size or self.config.eval_batch_size
        self._mesh, views = devices.make_mesh(), len(inputs.VIEWS) if tta else 1
        network = networks.build(self.config.model)
        self._eval_step = evaluator.compile_eval_step(self.config, network, self._mesh, views)

    @own_settings()
    def score(
        self,
        checkpoints: Checkpoints,
        step: int,
        advance: Callable[[int], object] = lambda count: None,
    ) -> Scored:
        """A saved step on the whole split; CheckpointError if it cannot be read."""
        loaded = checkpoints.restore_weights(step)
        variables = devices.put(loaded, devices.replicated(self._mesh))
        metrics, predicted = evaluator.score_split(
            self._eval_step, variables, self.split, self._batch_size, self._mesh, advance
        )
        table = predictions.tabulate(self.split, predicted)
        metrics |= predictions.summarize(table)
        opened = self.run, self.config, self.split, self.folder, self.name
        return Scored(*opened, step, metrics, table)

    def evaluate(self, wanted: str = "latest", terminal: Terminal = SILENT) -> Iterator[Scored]:
        """Scores the saved steps that `wanted` names ("all" among them), and writes the results.

        Raises:
          InputError: there is no such step.
          CheckpointError: each of the steps is damaged.
        """
        with Checkpoints(self.run.steps_path, terminal) as checkpoints:
            saved = checkpoints.steps() if wanted == "all" else []
            chosen = saved or [choose_step(wanted, checkpoints, self.run)]
            photos = len(chosen) * len(self.split.images)
            with terminal.progress(f"{len(chosen)} step(s)", photos, "photos") as advance:
                for step in chosen:
                    yield from self._written(checkpoints, step, advance)
        if len(self.damaged) == len(chosen):
            first, *others = self.damaged.values()
            raise CheckpointError(first, others)

    def follow(self, patience_s: float, terminal: Terminal = SILENT) -> Iterator[Scored]:
        """Scores each step as a training saves it, until the last step of the run is scored.

        Steps in the results table are not scored again, so the same command continues. A run that
        is killed and resumed meanwhile is followed.

        Raises:
          InputError: no process has trained the run for `patience_s` seconds, and its last step is
            not saved.
        """
        last_sign = time.monotonic()
        while True:
            is_trained = self.run.is_being_trained()  # first: a step saved later is seen next time
            if new := self._saved_steps() - self._done_steps():
                with Checkpoints(self.run.steps_path, terminal) as checkpoints:
                    for step in sorted(new):
                        yield from self._written(checkpoints, step)
            if self.run.facts().get("total_steps") in self._done_steps():
                return
            if new or is_trained:
                last_sign = time.monotonic()
            elif time.monotonic() - last_sign >= patience_s:
                raise InputError(
                    f"{self.run.path}: no process has trained it for {patience_s:g} s, and its "
                    "last step is not saved; train it, then watch again: scored steps stay"
                )
            time.sleep(POLL_S)

    def _written(
        self,
        checkpoints: Checkpoints,
        step: int,
        advance: Callable[[int], object] = lambda count: None,
    ) -> Iterator[Scored]:
        """Scores a step and writes the results; notes a damaged one instead."""
        try:
            scored = self.score(checkpoints, step, advance)
        except CheckpointError as error:
            if step in self._saved_steps():  # else training has deleted it meanwhile
                self.damaged[step] = str(error)
            return
        path = f"results/predictions/{self.name}-{step}.csv"
        self.run.write_text(path, scored.table.to_csv())
        merge_results(self.run, self.name, {step: scored.metrics})
        yield scored

    def _saved_steps(self) -> set[int]:
        folder = epath.Path(self.run.steps_path)
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        return {int(name) for name in names if name.isdigit()}

    def _done_steps(self) -> set[int]:
        """The damaged steps, and those in the results table; a new run moves that table away."""
        return {int(row["step"]) for row in results(self.run, self.name)} | self.damaged.keys()


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
        number = choose_step(step, checkpoints, scorer.run)
        with terminal.progress(f"step {number}", len(scorer.split.images), "photos") as advance:
            return scorer.score(checkpoints, number, advance)


def open_split(run: RunFolder, split: str, data: str | None = None) -> tuple[Split, str]:
    """A split to score a run on, and its folder: `data`, else that of the run's training.

    The latter is where the configuration says, or else at the recorded absolute path.

    Raises:
      InputError: the split is missing, not the run's own data, or cropped by another rule.
    """
    record, config = run.data(), run.config()
    rule = record.crop, f"the run {run.path}"
    if data is not None:
        return load_images(data, split, config, rule), data
    is_there = (epath.Path(config.data.dir) / arrays.MANIFEST).exists()
    folder = config.data.dir if is_there else record.folder
    try:
        own = load_images(folder, "validation", config, rule)
        if own.fingerprint != record.fingerprints["validation"]:
            raise InputError(f"the data in {folder} have changed since the run was trained")
    except InputError as error:
        raise InputError(f"{error}; give --data DIR, a prepared data set") from None
    return load_images(folder, split, config, rule), folder
