"""The results of an evaluation, in results/ of a run.

SPLIT.csv                    a row of metrics for each scored step
predictions/SPLIT-STEP.csv   every prediction of a step, see svhn_jax.inference.scoring
"""

import csv

from etils import epath

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
)
FORMATS = {"step": ".0f", "examples": ".0f", "loss": ".4f"}  # others: ".6f"


def results_path(run: RunFolder, name: str) -> epath.Path:
    """results/NAME.csv of the run."""
    return run.path / "results" / f"{name}.csv"


def results(run: RunFolder, name: str) -> list[dict[str, float]]:
    """The rows of results/NAME.csv, which `merge_results` wrote; none if it is not there.

    Raises:
      InputError: the file is not such a table.
    """
    path = results_path(run, name)
    rows = csv.DictReader(path.read_text().splitlines() if path.exists() else ())
    try:
        return [
            {c: (int if c == "step" else float)(row[c]) for c in RESULT_COLUMNS} for row in rows
        ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of ours ({error}); move it away") from None


def merge_results(run: RunFolder, name: str, rows: dict[int, dict[str, float]]) -> None:
    """Writes results/NAME.csv: the rows of these steps and those already in it, ascending.

    Raises:
      InputError: the file there is not such a table.
    """
    table = {int(row["step"]): row for row in results(run, name)}
    table |= {step: row | {"step": step} for step, row in rows.items()}
    lines = [",".join(RESULT_COLUMNS)]
    for step in sorted(table):
        # The loss is a float32 sum: beyond the fourth decimal it depends on the batch size.
        values = (f"{table[step][c]:{FORMATS.get(c, '.6f')}}" for c in RESULT_COLUMNS)
        lines.append(",".join(values))
    run.write_text(f"results/{name}.csv", "\n".join([*lines, ""]))
