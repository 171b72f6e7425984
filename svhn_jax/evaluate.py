"""python -m svhn_jax.evaluate --run FOLDER --split test --step best: scores saved steps of a run.

Every metric is over the whole split. Prints a table and merges it into FOLDER/results/SPLIT.csv
(with --data: SPLIT-NAME-FINGERPRINT.csv).

--search PHOTOS scores whole photos, without a box: the finder finds the number, the run (default:
the shipped weights) reads it. PHOTOS is a folder with labels.csv (file,label or file,label,layout),
or the folder of the SVHN archives: of these the photos of --split, test or validation.
--empty PICTURES counts in how many pictures without a number one is found.
"""

import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from svhn_jax import cli, config_files, files, labels
from svhn_jax.checked import Checked, at_least
from svhn_jax.cli import PNG, OptionalInt, OptionalPath, OptionalStr
from svhn_jax.data.pictures import contact_sheet, png
from svhn_jax.errors import InputError, naming_out_of_memory
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # they import JAX, which takes seconds
    from svhn_jax.inference.evaluation import Evaluated
    from svhn_jax.inference.scoring import Scorer

SHEET_IMAGES = 24
MOST_ERRORS = 1000
SHOWN = {  # metrics of the printed table, and their headings
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
    from svhn_jax.inference import evaluation  # imports JAX, which takes seconds: not for --help
    from svhn_jax.inference.scoring import Scorer
    from svhn_jax.runs.results import results_path

    folder = options.run_folder or ""
    if options.watch:
        _wait_for_run(folder, options.patience_s)
    tta, batch_size = options.tta, options.batch_size
    scorer = Scorer(folder, options.split, options.data, tta=tta, batch_size=batch_size)
    results = results_path(scorer.run, scorer.name)
    if not str(results).startswith(files.REMOTE):
        files.require_writable(Path(results))
    if options.watch:
        done = evaluation.follow(scorer, options.patience_s, terminal)
    else:
        done = evaluation.evaluate(scorer, options.step or "latest", terminal)
    if done.rows:
        _print(done, terminal, f"{scorer.config.name}: {options.split} of {scorer.folder}")
        terminal.print(f"written to {results}")
        _draw(options, scorer, done, terminal)
    if not options.watch:
        terminal.result(_as_json(folder, options.split, done))
        terminal.error(*(f"left out: {why}" for why in done.damaged.values()))
    return int(bool(done.damaged))


def _wait_for_run(folder: str, patience_s: float) -> None:
    """Returns once the run has a configuration, or the patience is over."""
    started = time.monotonic()
    while time.monotonic() - started < patience_s and not Path(folder, "config.json").exists():
        time.sleep(1)


def _print(done: "Evaluated", terminal: Terminal, title: str) -> None:
    """A line of metrics for each step; further metrics of the last one."""
    from svhn_jax.inference import predictions

    headings = ("step", "photos", *SHOWN.values())
    terminal.print(title, "".join(f"{heading:>11}" for heading in headings))
    for step, row in done.rows.items():
        metrics = "".join(f"{row[name]:11.4f}" for name in SHOWN)
        terminal.print(f"{step:11}{row['examples']:11,.0f}{metrics}")
    table = done.table
    if table is None:
        return
    low, high = f"{row['sequence_low']:.2%}", f"{row['sequence_high']:.2%}"
    terminal.print(
        f"step {step}: sequence {row['sequence_accuracy']:.2%} (95 % interval {low} to {high})",
        f"coverage: {row['coverage_98']:.1%} of the photos at 98 % accuracy, "
        f"{row['coverage_99']:.1%} at 99 %",
        f"calibration error {row['calibration_error']:.2%}; mean edit distance "
        f"{row['edit_distance']:.3f}; {row['images_per_s']:,.0f} images/s",
    )
    lengths = predictions.by_length(table).items()
    named = {labels.length_name(length, table.max_digits): counts for length, counts in lengths}
    terminal.print(_shares("right by length:", named))
    terminal.print(_shares("right by position:", predictions.by_position(table)))


def _shares(title: str, counts: Mapping[Any, Any]) -> str:
    """Lines of at most 80 columns: of each group, the share right and the number of photos."""
    shares = (
        f"{name}:~{right / total:.1%}~of~{total:,}" for name, (right, total) in counts.items()
    )
    lines = textwrap.fill(f"{title} " + "; ".join(shares), 80, subsequent_indent=" " * 19)
    return lines.replace("~", " ")  # a line ends between two shares only


def _draw(options: Options, scorer: "Scorer", done: "Evaluated", terminal: Terminal) -> None:
    """Writes the contact sheets of --sheet and --errors."""
    table, split = done.table, scorer.split
    if table is None:
        return
    misread = (~table.is_right).nonzero()[0]
    first = np.arange(min(SHEET_IMAGES, len(table.names)))
    for path, rows in ((options.sheet, first), (options.errors, misread[:MOST_ERRORS])):
        if path:
            sheet = contact_sheet(split.images[rows], split.labels[rows], table.predictions[rows])
            files.write_bytes(path, png(sheet))
            terminal.print(f"{path}: {len(rows):,} photos; {len(misread):,} are misread")


def _as_json(run: str, split: str, done: "Evaluated") -> dict[str, Any]:
    """Metrics of every step; of the last one also counts ([right, of how many]) and confusions."""
    from svhn_jax.inference import predictions, scores

    last = {}
    if (table := done.table) is not None:
        last = {
            "step": max(done.rows),
            "by_length": predictions.by_length(table),
            "by_position": predictions.by_position(table),
            "digit_confusion": scores.digit_confusion(table.truths, table.predictions).tolist(),
            "length_confusion": scores.length_confusion(table.truths, table.predictions).tolist(),
        }
    steps = [{"step": step} | row for step, row in done.rows.items()]
    damaged = list(done.damaged.values())
    return {"run": run, "split": split, "steps": steps, "damaged": damaged, "last_step": last}


def _search(options: Options, terminal: Terminal) -> int:
    """Scores whole photos, read without a box."""
    from svhn_jax import load  # imports JAX, which takes seconds: not for --help
    from svhn_jax.inference import photo_scores

    reader = load(options.run_folder, options.step or "best", tta=options.tta)
    result: dict[str, Any] = {}
    if options.search:
        is_table = (options.search / "labels.csv").is_file()
        photos = (
            photo_scores.labelled_photos(options.search)
            if is_table
            else photo_scores.split_photos(options.search, options.split)
        )
        found = photo_scores.summary(photo_scores.measure(lambda one: reader.read(one)[:2], photos))
        result["search"] = found
        terminal.print(
            f"{options.search}: {found['right']:,} of {found['photos']:,} photos right, "
            f"{found['share']:.3f} (95 % interval {found['low']:.3f} to {found['high']:.3f}); "
            f"no number found in {found['none']:,}",
            f"calibration error {found['calibration_error']:.2%}; coverage at 98 % accuracy "
            f"{found['coverage_98']:.1%}; of {found['sure']:,} readings of at least "
            f"{photo_scores.SURE:.0%} confidence {found['sure_right']:,} are right; "
            f"{found['ms']:.0f} ms a photo",
            _shares("right by length:", found["by_length"]),
        )
        if is_table and any(found["by_layout"]):
            terminal.print(_shares("right by layout:", found["by_layout"]))
    if options.empty:
        pictures = photo_scores.empty_pictures(options.empty)
        none = photo_scores.measure(lambda one: reader.read(one)[:2], pictures)
        result["empty"] = false = photo_scores.summary_of_empty(none)
        terminal.print(
            f"{options.empty}: a number found in {false['found']:,} of {false['pictures']:,} "
            f"pictures, {false['share']:.3f} (95 % interval {false['low']:.3f} to "
            f"{false['high']:.3f}); {false['sure']:,} of them at {photo_scores.SURE:.0%} or more"
        )
    terminal.result(result)
    return 0


if __name__ == "__main__":
    cli.run(Options, main)
