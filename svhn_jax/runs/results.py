"""The results of an evaluation, in results/ of a run.

SPLIT.csv                    a row of metrics for each scored step
SPLIT.json                   the fingerprint of the data scored
predictions/SPLIT-STEP.csv   every prediction of a step, see svhn_jax.inference.predictions
lock                         held while a process writes a table
"""

import csv
import io
import json
from pathlib import Path

from etils import epath

from svhn_jax import files
from svhn_jax.errors import InputError
from svhn_jax.runs.folder import RunFolder

RESULT_COLUMNS = (
    "step",
    "examples",
    "loss",
    "digit_accuracy",
    "positional_digit_accuracy",
    "length_accuracy",
    "sequence_accuracy",
    "sequence_low",
    "sequence_high",
    "coverage_98",
    "coverage_99",
    "calibration_error",
    "edit_distance",
)


def results_path(run: RunFolder, name: str) -> epath.Path:
    """results/NAME.csv of the run."""
    return run.path / "results" / f"{name}.csv"


def results(run: RunFolder, name: str) -> list[dict[str, float]]:
    """The rows of results/NAME.csv, which `merge_results` wrote; none if it is not there.

    Raises:
      InputError: the file is not such a table.
    """
    path = results_path(run, name)
    rows = _read_table(path).values() if path.exists() else ()
    try:
        return [
            dict(zip(RESULT_COLUMNS, (int(row[0]), *map(float, row[1:])), strict=True))
            for row in rows
        ]
    except ValueError as error:
        raise InputError(f"{path}: not a table of ours ({error}); move it away") from None


def predictions_path(run: RunFolder, name: str, step: int) -> epath.Path:
    """results/predictions/NAME-STEP.csv of the run."""
    return run.path / "results" / "predictions" / f"{name}-{step}.csv"


def write_predictions(run: RunFolder, name: str, step: int, text: str) -> None:
    """Writes results/predictions/NAME-STEP.csv, as a whole."""
    path = predictions_path(run, name, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    run.write_text(str(path.relative_to(run.path)), text)


def merge_results(
    run: RunFolder, name: str, rows: dict[int, dict[str, float]], fingerprint: str
) -> None:
    """Writes results/NAME.csv: these steps and those already in it, ascending. Other processes may do so meanwhile.

    results/NAME.json holds the fingerprint of the data the rows were scored on.

    Raises:
      InputError: the rows already there are of other data, or the file is not such a table.
    """
    is_remote = str(run.path).startswith(files.REMOTE)  # there are no locks in a bucket
    if is_remote:
        _merge(run, name, rows, fingerprint)
        return
    with (
        files.naming(Path(results_path(run, name))),
        files.locked(Path(run.path) / "results" / "lock"),
    ):
        _merge(run, name, rows, fingerprint)


def _merge(run: RunFolder, name: str, rows: dict[int, dict[str, float]], fingerprint: str) -> None:
    path = results_path(run, name)
    scored_on = json.dumps({"data_fingerprint": fingerprint}) + "\n"
    table: dict[int, list[str]] = {}
    if path.exists():
        table = _read_table(path)
        seal = path.with_suffix(".json")
        if not seal.exists() or seal.read_text() != scored_on:
            raise InputError(
                f"{path}: holds results on other data of that name; move it away, or give --data DIR"
            )
    table |= {
        step: [str(step), *(_cell(column, row[column]) for column in RESULT_COLUMNS[1:])]
        for step, row in rows.items()
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    writer.writerows(table[step] for step in sorted(table))
    path.parent.mkdir(parents=True, exist_ok=True)
    run.write_text(f"results/{name}.json", scored_on)
    run.write_text(f"results/{name}.csv", text.getvalue())


def _read_table(path: epath.Path) -> dict[int, list[str]]:
    """Rows of a results file by step; InputError if the file is not such a table."""
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text()))
        if tuple(header) != RESULT_COLUMNS or any(len(row) != len(RESULT_COLUMNS) for row in rows):
            raise ValueError("other columns")
        return {int(row[0]): row for row in rows}
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a table of ours ({error}); move it away") from None


def _cell(column: str, value: float) -> str:
    if column == "examples":
        return str(int(value))
    # The loss is a float32 sum: beyond the fourth decimal it depends on the batch size.
    return f"{value:.4f}" if column == "loss" else f"{value:.6f}"
