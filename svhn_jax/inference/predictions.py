"""The predictions of a split, photo by photo: in memory, and as the CSV that evaluate writes."""

import csv
import io
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from svhn_jax import labels
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError, printable
from svhn_jax.inference import scores
from svhn_jax.labels import BLANK, max_digits_of

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.model.decode import Predictions


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
    def max_digits(self) -> int:
        """D: the most digits of a number that the labels hold."""
        return max_digits_of(self.truths)

    @property
    def is_right(self) -> np.ndarray:
        """bool[N]: the length and every digit are right."""
        return np.asarray((self.truths == self.predictions).all(axis=1))

    def to_csv(self) -> str:
        """The table as CSV. Numbers may begin with 0 ("007"): read them as text."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        digits = (f"digit_{n}_p" for n in range(1, 1 + self.max_digits))
        writer.writerow(["name", "truth", "prediction", "confidence", "length_p", *digits])
        for name, truth, prediction, *p, digit_p in zip(*self, strict=True):
            shares = ["" if np.isnan(x) else f"{x:.6f}" for x in (*p, *digit_p)]
            writer.writerow([name, labels.decode(truth), labels.decode(prediction), *shares])
        return text.getvalue()


def tabulate(split: Split, predictions: "Predictions[np.ndarray]") -> PredictionTable:
    """The predictions of a whole split, in its order, beside its names and labels."""
    number_p, length_p, digit_p = (
        np.exp(log_p.astype(np.float64))
        for log_p in (predictions.log_p, predictions.length_log_p, predictions.digit_log_p)
    )
    is_there = predictions.labels[:, 1:] != BLANK
    return PredictionTable(
        [name.decode() for name in split.names.tolist()],
        np.asarray(split.labels),
        predictions.labels,
        number_p,
        length_p,
        np.where(is_there, digit_p, np.nan),
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


def read(path: Path) -> PredictionTable:
    """Reads a file that `PredictionTable.to_csv` was written to; InputError if it is another."""
    try:
        _, *rows = csv.reader(io.StringIO(path.read_text()))
        names, truths, predicted, *shares = zip(*rows, strict=True)
        p = np.array([[float(share or "nan") for share in column] for column in shares]).T
        most = p.shape[1] - 2
        labelled = [np.stack([_label(x, most) for x in column]) for column in (truths, predicted)]
    except (OSError, ValueError, csv.Error) as error:
        why = printable(str(error))
        raise InputError(f"{path}: not a table of predictions of evaluate ({why})") from None
    return PredictionTable([*names], labelled[0], labelled[1], p[:, 0], p[:, 1], p[:, 2:])


def _label(text: str, max_digits: int) -> np.ndarray:
    """The inverse of svhn_jax.labels.decode."""
    digits = text.removesuffix("+")
    label = labels.encode_text(digits, max_digits) if text else labels.encode([], max_digits)
    if text.endswith("+"):
        label[0] = max_digits + 1
    return label


def require_same_photos(
    first: PredictionTable, second: PredictionTable, names: tuple[str, str]
) -> None:
    """Raises InputError, naming a photo, unless both have the same photos, labels and order."""
    ours, theirs = (
        [f"{name} {labels.decode(truth)}" for name, truth in zip(*table[:2], strict=True)]
        for table in (first, second)
    )
    for row, (here, there) in enumerate(zip_longest(ours, theirs, fillvalue="none"), start=1):
        if here != there:
            raise InputError(
                f"row {row} is {printable(here)} in {names[0]}, {printable(there)} in {names[1]}"
            )
