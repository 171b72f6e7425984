"""The predictions of a split, photo by photo: in memory, and as the CSV file that svhn_jax.evaluate writes."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from svhn_jax import labels
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError, printable
from svhn_jax.inference import scores
from svhn_jax.labels import BLANK, MOST_DIGITS, max_digits_of

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.model.decode import Predictions

COLUMNS = ("name", "truth", "prediction", "confidence", "length_p")  # and a column for each digit


def columns(max_digits: int) -> tuple[str, ...]:
    """The header of a table of predictions of at most so many digits."""
    return (*COLUMNS, *(f"digit_{n}_p" for n in range(1, 1 + max_digits)))


class PredictionTable(NamedTuple):
    """Truth and prediction of each photo of a split.

    names: list of N texts, the photo each row came from, such as "train/1.png".
    truths, predictions: labels int32[N, 1 + D] (see svhn_jax.labels).
    confidence: float64[N], the probability of the whole number.
    length_p: float64[N], the probability of the predicted length.
    digit_p: float64[N, D], the probability of each predicted digit; nan where the prediction has no such digit.
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
        """The table as CSV, with `columns` as its header.

        Numbers may begin with 0 ("007"): read them as text, as in pandas.read_csv(path, dtype={"truth": str, "prediction": str}).
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns(self.max_digits))
        for name, truth, prediction, *p, digit_p in zip(*self, strict=True):
            numbers = (labels.decode(truth), labels.decode(prediction))
            writer.writerow(
                [
                    name,
                    *numbers,
                    *(f"{x:.6f}" for x in p),
                    *("" if np.isnan(x) else f"{x:.6f}" for x in digit_p),
                ]
            )
        return text.getvalue()


def tabulate(split: Split, predictions: "Predictions[np.ndarray]") -> PredictionTable:
    """The predictions of a whole split, in its order, beside its names and labels."""
    return PredictionTable(
        [name.decode() for name in split.names.tolist()],
        np.asarray(split.labels),
        predictions.labels,
        np.exp(predictions.log_p.astype(np.float64)),
        np.exp(predictions.length_log_p.astype(np.float64)),
        np.where(
            predictions.labels[:, 1:] == BLANK,
            np.nan,
            np.exp(predictions.digit_log_p.astype(np.float64)),
        ),
    )


def summarize(table: PredictionTable) -> dict[str, float]:
    """Metrics of a table beyond accuracy, each a number: see svhn_jax.inference.scores.

    sequence_low and sequence_high: bounds of the 95 % interval of the sequence accuracy. coverage_98, coverage_99.
    calibration_error. edit_distance: the mean.
    """
    right = table.is_right
    interval = scores.wilson_interval(int(right.sum()), len(right))
    return {
        "sequence_low": interval.low,
        "sequence_high": interval.high,
        "coverage_98": scores.coverage(table.confidence, right, 0.98),
        "coverage_99": scores.coverage(table.confidence, right, 0.99),
        "calibration_error": scores.calibration_error(table.confidence, right),
        "edit_distance": float(scores.edit_distances(table.truths, table.predictions).mean()),
    }


def by_length(table: PredictionTable) -> dict[int, tuple[int, int]]:
    """Of each true length (max_digits + 1: more digits): how many whole numbers are right, and of how many."""
    return scores.counts_by_group(table.is_right, table.truths[:, 0])


def by_position(table: PredictionTable) -> dict[int, tuple[int, int]]:
    """Of each position from 1 on, where a true digit stands: how many digits are right, and of how many."""
    is_there, is_right = (
        table.truths[:, 1:] != BLANK,
        table.truths[:, 1:] == table.predictions[:, 1:],
    )
    counts = {
        position + 1: (
            int((is_right & is_there)[:, position].sum()),
            int(is_there[:, position].sum()),
        )
        for position in range(table.max_digits)
    }
    return {position: (right, total) for position, (right, total) in counts.items() if total}


def read(path: Path) -> PredictionTable:
    """Reads a file that `PredictionTable.to_csv` was written to.

    Raises:
      InputError: no such file, or not a table of predictions; with the line.
    """
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text()))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as a table of predictions ({printable(str(error))})"
        ) from None
    max_digits = len(header) - len(COLUMNS)
    if not 1 <= max_digits <= MOST_DIGITS or tuple(header) != columns(max_digits):
        wanted = f"{','.join(COLUMNS)},digit_1_p and so on"
        raise InputError(
            f"{path}: its first line is not {wanted}; write the file with svhn_jax.evaluate"
        )
    names, truths, predictions, values = [], [], [], []
    for line, row in enumerate(rows, start=2):
        try:
            name, truth, prediction, *p = row
            names.append(name)
            truths.append(_label(truth, max_digits))
            predictions.append(_label(prediction, max_digits))
            values.append([float(text or "nan") for text in p])
            if len(p) != len(header) - 3 or not 0 <= values[-1][0] <= 1:
                raise ValueError("not a row of such a table")
        except ValueError as error:
            raise InputError(f"{path}: line {line}: {printable(str(error))}") from None
    numbers = np.array(values).reshape(-1, len(header) - 3)
    shape = (-1, 1 + max_digits)
    return PredictionTable(
        names,
        np.array(truths, np.int32).reshape(shape),
        np.array(predictions, np.int32).reshape(shape),
        confidence=numbers[:, 0],
        length_p=numbers[:, 1],
        digit_p=numbers[:, 2:],
    )


def _label(text: str, max_digits: int) -> np.ndarray:
    """The inverse of svhn_jax.labels.decode."""
    if text == "":
        return labels.encode([], max_digits)
    label = labels.encode_text(text.removesuffix("+"), max_digits)
    if text.endswith("+"):
        if (label[1:] == BLANK).any():
            raise ValueError(f"{text!r} has + after fewer than {max_digits} digits")
        label[0] = max_digits + 1
    return label


def require_same_photos(
    first: PredictionTable, second: PredictionTable, names: tuple[str, str]
) -> None:
    """Raises InputError, naming a row, where two tables are not of the same photos with the same labels in the same order.

    Tables of another max_digits have other labels.
    """
    if first.max_digits != second.max_digits:
        raise InputError(
            f"{names[0]} is of numbers of at most {first.max_digits} digits, {names[1]} of at most {second.max_digits}; "
            "compare runs of the same model.max_digits"
        )
    rows = zip(first.names, second.names, first.truths, second.truths, strict=False)
    for row, (photo, other, truth, other_truth) in enumerate(rows, start=1):
        if photo != other:
            raise InputError(
                f"row {row} is {printable(photo)} in {names[0]} and {printable(other)} in {names[1]}"
            )
        if (truth != other_truth).any():
            known = [labels.decode(label) for label in (truth, other_truth)]
            raise InputError(
                f"row {row}, {printable(photo)}: its label is {known[0]} in {names[0]} and {known[1]} in {names[1]}"
            )
    if len(first.names) != len(second.names):
        raise InputError(
            f"{names[0]} has {len(first.names)} photos, {names[1]} {len(second.names)}; compare the same photos"
        )
