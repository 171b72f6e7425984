"""python -m svhn_jax.evaluate --run FOLDER --split test --step best: scores saved steps of a run.

Every metric is over the whole split. Prints a table and merges it into FOLDER/results/SPLIT.csv
(with --data: SPLIT-NAME-FINGERPRINT.csv).

--search PHOTOS scores whole photos, without a box: the finder finds the number, the run (default:
the shipped weights) reads it. PHOTOS is a folder with labels.csv (file,label or file,label,layout),
or the folder of the SVHN archives: of these the photos of --split, test or validation.
--empty PICTURES counts in how many pictures without a number one is found.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from svhn_jax import cli, config_files, files
from svhn_jax.checked import Checked, at_least
from svhn_jax.cli import PNG, OptionalInt, OptionalPath, OptionalStr
from svhn_jax.data.pictures import contact_sheet, png
from svhn_jax.errors import InputError, naming_out_of_memory
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.scoring import Scored

SHEET_IMAGES = 24
MOST_ERRORS = 1000
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

    config: OptionalPath = None
    """the configuration file of the run; or give --run"""
    run: OptionalStr = None
    """the run's folder, which carries its own configuration"""
    split: Literal["train", "validation", "test"] = "validation"
    """what to read"""
    step: OptionalStr = None
    """latest (default), best (on validation while training; default of --search), all, a number"""
    data: OptionalStr = None
    """another prepared data set than the run's own"""
    batch_size: Annotated[OptionalInt, at_least(1)] = None
    """images per evaluation step; the result does not depend on it"""
    tta: bool = False
    """test-time augmentation: average five windows of each crop; five times the work"""
    sheet: Annotated[OptionalPath, PNG] = None
    """PNG to write: the first photos of the split, with what the last scored step reads"""
    errors: Annotated[OptionalPath, PNG] = None
    """PNG to write: the photos that the last scored step misreads, with what it reads"""
    watch: bool = False
    """follow a run that is being trained: score each step as it is saved, until its last one"""
    patience_s: Annotated[float, at_least(0)] = 60.0
    """with --watch: seconds to wait for a run that no process trains, before giving up"""
    search: OptionalPath = None
    """folder of whole photos to read without a box, see above"""
    empty: OptionalPath = None
    """folder of pictures without a number"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config and self.run:
            raise InputError("give either --config FILE or --run FOLDER")
        if not (self.config or self.run or self.search or self.empty):
            raise InputError("give --config FILE or --run FOLDER, or photos: --search FOLDER")
        if self.watch and self.step:
            raise InputError("--watch scores every step; leave --step out")

    @property
    def run_folder(self) -> str | None:
        if not self.config:
            return self.run
        config = config_files.load(self.config)
        return f"{config.runs_dir}/{config.name}"


def main(options: Options, terminal: Terminal) -> int:
    for path in (options.sheet, options.errors):
        if path:
            files.require_writable(path)
    with naming_out_of_memory("the batch is set by --batch-size"):
        if options.search or options.empty:
            return _search(options, terminal)
        return _evaluate(options, terminal)


def _evaluate(options: Options, terminal: Terminal) -> int:
    from svhn_jax.inference import predictions  # these import JAX: not for --help
    from svhn_jax.inference.scoring import Scorer
    from svhn_jax.runs.results import results_path

    folder, tta, is_watching = options.run_folder or "", options.tta, options.watch
    if is_watching:
        _wait_for_run(folder, options.patience_s)
    scorer = Scorer(folder, options.split, options.data, tta=tta, batch_size=options.batch_size)
    results = results_path(scorer.run, scorer.name)
    if not str(results).startswith(files.REMOTE):
        files.require_writable(Path(results))
    if is_watching:
        done = scorer.follow(options.patience_s, terminal)
    else:
        done = scorer.evaluate(options.step or "latest", terminal)
    rows, last, groups = [], None, dict[str, Any]()
    for last in done:
        rows.append({"step": last.step} | last.metrics)
        if is_watching:
            _print_step(rows[-1], terminal)
    if last:
        groups["by_length"] = predictions.by_length(last.table)
        groups["by_position"] = predictions.by_position(last.table)
        terminal.print(f"{scorer.config.name}: {options.split} of {scorer.folder}")
        terminal.print("".join(f"{heading:>11}" for heading in ("step", *TABLE.values())))
        for row in rows:
            terminal.print("".join(f"{_shown(row[name]):>11}" for name in ("step", *TABLE)))
        others = {name: value for name, value in last.metrics.items() if name not in TABLE}
        _print_values(f"step {last.step}", others | groups, terminal)
        terminal.print(f"written to {results}")
        _draw(options, last, terminal)
    if not is_watching:
        about = {"run": folder, "split": options.split, "steps": rows}
        damaged = list(scorer.damaged.values())
        terminal.result(about | {"damaged": damaged, "last_step": groups})
    terminal.error(*(f"left out: {why}" for why in scorer.damaged.values()))
    return int(bool(scorer.damaged))


def _wait_for_run(folder: str, patience_s: float) -> None:
    """Returns once the run has a configuration, or the patience is over."""
    started = time.monotonic()
    while time.monotonic() - started < patience_s and not Path(folder, "config.json").exists():
        time.sleep(1)


def _print_step(row: dict[str, float], terminal: Terminal) -> None:
    terminal.result(row)
    accuracy = f"sequence {row['sequence_accuracy']:.4f}, loss {row['loss']:.4f}"
    terminal.print(f"[{time.strftime('%H:%M:%S')}] step {row['step']}: {accuracy}")


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


def _draw(options: Options, scored: "Scored", terminal: Terminal) -> None:
    """Writes the contact sheets of --sheet and --errors."""
    table, split = scored.table, scored.split
    misread = (~table.is_right).nonzero()[0]
    first = np.arange(min(SHEET_IMAGES, len(table.names)))
    for path, rows in ((options.sheet, first), (options.errors, misread[:MOST_ERRORS])):
        if path:
            sheet = contact_sheet(split.images[rows], split.labels[rows], table.predictions[rows])
            files.write_bytes(path, png(sheet))
            terminal.print(f"{path}: {len(rows):,} photos; {len(misread):,} are misread")


def _search(options: Options, terminal: Terminal) -> int:
    """Scores whole photos, read without a box."""
    from svhn_jax import load  # imports JAX, which takes seconds: not for --help
    from svhn_jax.inference import photo_scores

    reader = load(options.run_folder, options.step or "best", tta=options.tta)
    result: dict[str, Any] = {}
    if options.search:
        photos = photo_scores.photos_of(options.search, options.split)
        measured = photo_scores.measure(lambda photo: reader.read(photo)[:2], photos)
        result["search"] = photo_scores.summary(measured)
        _print_values(f"{options.search}, no box given", result["search"], terminal)
    if options.empty:
        pictures = photo_scores.empty_pictures(options.empty)
        measured = photo_scores.measure(lambda photo: reader.read(photo)[:2], pictures)
        result["empty"] = photo_scores.summary_of_empty(measured)
        _print_values(f"{options.empty}, without a number", result["empty"], terminal)
    terminal.result(result)
    return 0


if __name__ == "__main__":
    cli.run(Options, main)
