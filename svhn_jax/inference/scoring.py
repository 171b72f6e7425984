"""Scores saved steps of a run on one split: its metrics, and the prediction of every photo."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath

from svhn_jax import labels
from svhn_jax.data import arrays
from svhn_jax.data.arrays import Split
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.inference import scores
from svhn_jax.inference.reader import choose_step
from svhn_jax.labels import BLANK, max_digits_of
from svhn_jax.model import inputs, networks
from svhn_jax.model.decode import Predictions
from svhn_jax.model.settings import own_settings
from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training import devices, evaluator
from svhn_jax.training.dataset import load_images


class PredictionTable(NamedTuple):
    """Truth and prediction of each photo of a split.

    names: list of N texts, the photo of each row, such as "train/1.png".
    truths, predictions: labels int32[N, 1 + D] (see svhn_jax.labels).
    confidence: float64[N], the probability of the whole number.
    length_p: float64[N], the probability of the predicted length.
    digit_p: float64[N, D], of each predicted digit; nan where there is no digit.
    """

    names: list[str]
    truths: np.ndarray
    predictions: np.ndarray
    confidence: np.ndarray
    length_p: np.ndarray
    digit_p: np.ndarray

    @property
    def is_right(self) -> np.ndarray:
        """bool[N]: the length and every digit are right."""
        return np.asarray((self.truths == self.predictions).all(axis=1))

    def to_csv(self) -> str:
        """The table as CSV. Numbers may begin with 0 ("007"): read them as text."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        digits = (f"digit_{n}_p" for n in range(1, 1 + max_digits_of(self.truths)))
        writer.writerow(["name", "truth", "prediction", "confidence", "length_p", *digits])
        for name, truth, prediction, *p, digit_p in zip(*self, strict=True):
            shares = ["" if np.isnan(x) else f"{x:.6f}" for x in (*p, *digit_p)]
            writer.writerow([name, labels.decode(truth), labels.decode(prediction), *shares])
        return text.getvalue()


class Scored(NamedTuple):
    """One saved step of a run on a split of the data set `folder`.

    name: of its results table, without .csv: SPLIT; SPLIT-FOLDER-FINGERPRINT of other data than the
    run's own; with -tta for averaged windows.
    """

    run: RunFolder
    split: Split
    folder: str
    name: str
    step: int
    metrics: dict[str, float]
    table: PredictionTable


def score_steps(
    run: str,
    split: str = "validation",
    step: str | int = "latest",
    data: str | None = None,
    *,
    tta: bool = False,
    batch_size: int | None = None,
    terminal: Terminal = SILENT,
) -> Iterator[Scored]:
    """Scores saved steps of a run; the eval step is compiled once.

    Args:
      run: the run's folder. split: train, validation or test.
      step: latest, best, a number, or all.
      data: a prepared data set; None: the run's own.
      tta: average five windows of each crop. batch_size: None: the configuration's.

    Raises:
      InputError: there is no such run, step or split, or they do not fit.
      CheckpointError: steps are damaged; after the others have been scored.
    """
    folder = RunFolder(run)
    config = folder.config()
    photos, where = open_split(folder, split, data)
    other = re.sub(r"[^A-Za-z0-9_.-]", "_", f"-{Path(data).name}") if data else ""
    fingerprint = f"-{photos.fingerprint[:8]}" if data else ""
    name = f"{split}{other}{fingerprint}{'-tta' if tta else ''}"
    mesh, views = devices.make_mesh(), len(inputs.VIEWS) if tta else 1
    eval_step = evaluator.compile_eval_step(config, networks.build(config.model), mesh, views)

    @own_settings()
    def score(number: int, advance: Callable[[int], object]) -> Scored:
        variables = devices.put(checkpoints.restore_weights(number), devices.replicated(mesh))
        size = batch_size or config.eval_batch_size
        metrics, read = evaluator.score_split(eval_step, variables, photos, size, mesh, advance)
        table = tabulate(photos, read)
        return Scored(folder, photos, where, name, number, metrics | summarize(table), table)

    damaged = []
    with Checkpoints(folder.steps_path, terminal) as checkpoints:
        saved = checkpoints.steps() if step == "all" else []
        chosen = saved or [choose_step(step, checkpoints, folder)]
        count = len(chosen) * len(photos.images)
        with terminal.progress(f"{len(chosen)} step(s)", count, "photos") as advance:
            for number in chosen:
                try:
                    yield score(number, advance)
                except CheckpointError as error:
                    damaged.append(str(error))
    if damaged:
        raise CheckpointError(damaged[0], damaged[1:])


def score_step(
    run: str,
    split: str = "test",
    step: str | int = "best",
    data: str | None = None,
    *,
    tta: bool = False,
    terminal: Terminal = SILENT,
) -> Scored:
    """Scores one step of a run, see `score_steps`.

    scored = score_step("checkpoints/demo", "test")
    scored.metrics["sequence_accuracy"], scored.table.is_right
    """
    [scored] = score_steps(run, split, step, data, tta=tta, terminal=terminal)
    return scored


def tabulate(split: Split, predictions: Predictions[np.ndarray]) -> PredictionTable:
    """The predictions of a whole split, in its order, beside its names and labels."""
    number_p, length_p, digit_p = (
        np.exp(log_p.astype(np.float64))
        for log_p in (predictions.log_p, predictions.length_log_p, predictions.digit_log_p)
    )
    return PredictionTable(
        [name.decode() for name in split.names.tolist()],
        np.asarray(split.labels),
        predictions.labels,
        number_p,
        length_p,
        np.where(predictions.labels[:, 1:] != BLANK, digit_p, np.nan),
    )


def summarize(table: PredictionTable) -> dict[str, float]:
    """Metrics of a table beyond accuracy, see svhn_jax.inference.scores.

    sequence_low and sequence_high: bounds of the 95 % interval of the sequence accuracy.
    coverage_98, coverage_99, calibration_error.
    """
    right = table.is_right
    interval = scores.wilson_interval(int(right.sum()), len(right))
    return {
        "sequence_low": interval.low,
        "sequence_high": interval.high,
        "coverage_98": scores.coverage(table.confidence, right, 0.98),
        "coverage_99": scores.coverage(table.confidence, right, 0.99),
        "calibration_error": scores.calibration_error(table.confidence, right),
    }


def by_length(table: PredictionTable) -> dict[int, tuple[int, int]]:
    """Of each true length (max_digits + 1: more digits): numbers right, and numbers."""
    lengths = table.truths[:, 0]
    return {
        int(n): (int(table.is_right[lengths == n].sum()), int((lengths == n).sum()))
        for n in np.unique(lengths)
    }


def by_position(table: PredictionTable) -> dict[int, tuple[int, int]]:
    """Of each position from 1 on that has a true digit: digits right, and digits."""
    truths = table.truths[:, 1:]
    is_there, is_right = truths != BLANK, truths == table.predictions[:, 1:]
    right, totals = (is_right & is_there).sum(axis=0), is_there.sum(axis=0)
    pairs = zip(right.tolist(), totals.tolist(), strict=True)
    return {position: pair for position, pair in enumerate(pairs, start=1) if pair[1]}


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
