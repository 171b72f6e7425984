"""python -m svhn_jax.evaluate --run FOLDER --split test --step best: scores saved steps of a run.

Every metric is over the whole split. Prints a table and merges it into FOLDER/results/SPLIT.csv
(with --data: SPLIT-NAME-FINGERPRINT.csv).

--search PHOTOS scores whole photos, without a box: the finder finds the number, the run (default:
the shipped weights) reads it. PHOTOS is a folder with labels.csv (file,label or file,label,layout),
or the folder of the SVHN archives: of these the photos of --split, test or validation.
--empty PICTURES reads pictures without a number; right is to find none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from svhn_jax import cli, config_files
from svhn_jax.checked import Checked, at_least
from svhn_jax.errors import CheckpointError, InputError, naming_out_of_memory
from svhn_jax.output import Terminal

TABLE = {  # metrics of the printed table, and their headings; the last step has all metrics
    "examples": "photos",
    "loss": "loss",
    "sequence_accuracy": "sequence",
    "digit_accuracy": "per digit",
    "positional_digit_accuracy": "positional",
    "length_accuracy": "length",
}


@dataclass(frozen=True)
class Options(Checked):
    """Scores saved steps of a run."""

    config: Path | None = None
    """the configuration file of the run; or give --run"""
    run: str | None = None
    """the run's folder, which carries its own configuration"""
    split: Literal["train", "validation", "test"] = "validation"
    """what to read"""
    step: str | None = None
    """latest (default), best (on validation while training; default of --search), all, a number"""
    data: str | None = None
    """another prepared data set than the run's own"""
    batch_size: Annotated[int | None, at_least(1)] = None
    """images per evaluation step; the result does not depend on it"""
    tta: bool = False
    """test-time augmentation: average five windows of each crop; five times the work"""
    search: Path | None = None
    """folder of whole photos to read without a box, see above"""
    empty: Path | None = None
    """folder of pictures without a number"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config and self.run:
            raise InputError("give either --config FILE or --run FOLDER")
        if not (self.config or self.run or self.search or self.empty):
            raise InputError("give --config FILE or --run FOLDER, or photos: --search FOLDER")
        if (self.search or self.empty) and (self.data or self.batch_size):
            raise InputError("--search and --empty read photos: without --data and --batch-size")

    @property
    def run_folder(self) -> str | None:
        if not self.config:
            return self.run
        config = config_files.load(self.config)
        return f"{config.runs_dir}/{config.name}"


def main(options: Options, terminal: Terminal) -> None:
    with naming_out_of_memory("the batch is set by --batch-size"):
        (_search if options.search or options.empty else _evaluate)(options, terminal)


def _evaluate(options: Options, terminal: Terminal) -> None:
    from svhn_jax.inference import scoring  # these import JAX: not for --help
    from svhn_jax.runs import results

    rows, damaged = [], None
    folder, step = options.run_folder or "", options.step or "latest"
    split, data, size = options.split, options.data, options.batch_size
    how: Any = {"tta": options.tta, "batch_size": size, "terminal": terminal}
    try:
        for last in scoring.score_steps(folder, split, step, data, **how):
            path = f"results/predictions/{last.name}-{last.step}.csv"
            last.run.write_text(path, last.table.to_csv())
            results.merge_results(last.run, last.name, {last.step: last.metrics})
            rows.append({"step": last.step} | last.metrics)
    except CheckpointError as error:
        if not rows:
            raise
        damaged = error  # the others are shown first
    groups: dict[str, Any] = {
        "by_length": scoring.by_length(last.table),
        "by_position": scoring.by_position(last.table),
    }
    terminal.print(f"{last.run.config().name}: {split} of {last.folder}")
    terminal.print("".join(f"{heading:>11}" for heading in ("step", *TABLE.values())))
    for row in rows:
        terminal.print("".join(f"{_shown(row[name]):>11}" for name in ("step", *TABLE)))
    others = {name: value for name, value in last.metrics.items() if name not in TABLE}
    _print_values(f"step {last.step}", others | groups, terminal)
    terminal.print(f"written to {results.results_path(last.run, last.name)}")
    terminal.result({"run": folder, "split": split, "steps": rows, "last_step": groups})
    if damaged:
        raise damaged


def _print_values(title: str, values: Mapping[str, Any], terminal: Terminal) -> None:
    """A line for each value; of groups, the share right and the number of photos."""
    terminal.print(f"{title}:")
    for name, value in values.items():
        if isinstance(value, Mapping):
            groups = (f"{key}: {n / total:.1%} of {total:,}" for key, (n, total) in value.items())
            value = "; ".join(groups)
        terminal.print(f"  {name.replace('_', ' '):20}{_shown(value)}")


def _shown(value: Any) -> str:
    """A count, or a share or time with four digits."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value.is_integer() and value > 1 else f"{value:,.4f}"


def _search(options: Options, terminal: Terminal) -> None:
    """Scores whole photos, read without a box."""
    from svhn_jax import load  # imports JAX, which takes seconds: not for --help
    from svhn_jax.inference import photo_scores

    reader = load(options.run_folder, options.step or "best", tta=options.tta)
    result: dict[str, Any] = {}
    for name, folder, photos_of in (
        ("search", options.search, lambda at: photo_scores.photos_of(at, options.split)),
        ("empty", options.empty, photo_scores.empty_pictures),
    ):
        if folder:
            measured = photo_scores.measure(lambda one: reader.read(one)[:2], photos_of(folder))
            result[name] = photo_scores.summary(measured)
            _print_values(f"{folder}, no box given", result[name], terminal)
    terminal.result(result)


if __name__ == "__main__":
    cli.run(Options, main)
