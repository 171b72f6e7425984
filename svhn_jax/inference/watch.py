"""Follows a run that is being trained, and scores each step as it is saved: svhn_jax.evaluate --watch.

It ends when the last step of the run is scored, or when no process has trained the run for --patience-s. A run that is
killed and resumed meanwhile is followed on. Steps in the results table are not scored again, so that the same command
continues where an earlier one stopped.
"""

import time

import jax
from etils import epath
from rich.console import Console

from svhn_jax import output
from svhn_jax.errors import CheckpointError, InputError, UnfinishedError, print_to_stderr
from svhn_jax.inference import tables
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.scoring import StepScorer, write_step
from svhn_jax.inference.source import Source, find, folder_of
from svhn_jax.inference.weights import load_variables
from svhn_jax.options import Evaluate
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.results import results

POLL_S = 1.0


def follow(options: Evaluate) -> int:
    """Scores steps until the run ends; prints a line for each. Returns the exit status: 1 where a checkpoint is damaged.

    Raises:
      InputError: the options do not suit, or no process has begun the run.
      UnfinishedError: no process trains the run any more, and its last step is not saved.
    """
    if jax.process_count() > 1:
        raise InputError(
            "--watch is for one process; give --processes 1, or start it outside the job"
        )
    if options.step != "latest":
        raise InputError(
            f"--step is {options.step}, but --watch scores every step; leave --step out"
        )
    console = output.console(options.output)
    _wait_for_run(options)
    source = find(options)
    tables.require_writable(options, source)
    return _Follower(options, source, console).run()


def _wait_for_run(options: Evaluate) -> None:
    """Returns once the run has a configuration, or the patience is over."""
    config = RunFolder(folder_of(options)).path / "config.json"
    started = time.monotonic()
    while not config.exists() and time.monotonic() - started < options.patience_s:
        time.sleep(POLL_S)


class _Follower:
    """The steps of one run that were scored, and those that cannot be."""

    def __init__(self, options: Evaluate, source: Source, console: Console):
        self._options, self._source, self._console = options, source, console
        self._scorer = StepScorer(source)
        self._scored = self._in_table()
        self._damaged: dict[int, str] = {}
        self._rows: dict[int, dict[str, float]] = {}
        self._last: tuple[int, PredictionTable] | None = None  # the step scored last
        self._named: set[int] = set()  # the steps at the last look
        self._total_steps = 0

    def run(self) -> int:
        run = self._source.run
        count = len(self._scored)
        self._console.print(
            f"watching {run.path}; {count} of its steps are scored already", soft_wrap=True
        )
        last_sign = time.monotonic()
        while True:
            is_trained = (
                run.is_being_trained()
            )  # asked first: a step saved afterwards is seen next time
            if self._score_new() or is_trained:
                last_sign = time.monotonic()
            if self._total_steps in self._scored | self._damaged.keys():
                break
            if time.monotonic() - last_sign >= self._options.patience_s:
                self._tell()
                raise UnfinishedError(
                    f"{run.path}: no process has trained it for {self._options.patience_s:g} s, and its last step "
                    f"is not saved; {len(self._scored)} of its steps are scored: train it on, then watch again"
                )
            time.sleep(POLL_S)
        self._tell()
        return int(bool(self._damaged))

    def _in_table(self) -> set[int]:
        return {int(row["step"]) for row in results(self._source.run, self._source.name)}

    def _score_new(self) -> bool:
        """Scores the steps saved since the last call; returns whether there were any."""
        run = self._source.run
        self._scored = self._in_table()  # a run that starts anew moves its table away
        folder = epath.Path(run.steps_path)
        named = (
            {int(path.name) for path in folder.iterdir() if path.name.isdigit()}
            if folder.exists()
            else set()
        )
        self._damaged = {
            step: why for step, why in self._damaged.items() if step in named
        }  # training saves it again
        unseen, self._named = named != self._named, named
        if not named or not (named - self._scored - self._damaged.keys() or unseen):
            return False
        with Checkpoints(run.steps_path) as checkpoints:
            new = [
                step
                for step in checkpoints.steps()
                if step not in self._scored and step not in self._damaged
            ]
            self._total_steps = run.facts().get("total_steps", self._total_steps)
            for step in new:
                self._score(checkpoints, step)
        return bool(new)

    def _score(self, checkpoints: Checkpoints, step: int) -> None:
        source, network = self._source, self._scorer.network
        try:
            variables = load_variables(checkpoints, step, source.config, network)
        except CheckpointError as error:
            with Checkpoints(source.run.steps_path) as now:
                if step not in now.steps():
                    self._console.print(
                        f"step {step} was deleted before it could be scored (keep_newest)"
                    )
                    return
            self._damaged[step] = str(error)
            print_to_stderr(f"left out: {error}")
            return
        with output.progress(f"step {step}", len(source.split.images), "photos") as advance:
            row, table = self._scorer.score(variables, advance)
        write_step(source, step, row, table)
        self._scored.add(step)
        self._rows[step], self._last = row, (step, table)
        output.print_json(self._options.output, {"step": step} | row)
        self._console.print(
            f"[{time.strftime('%H:%M:%S')}] step {step}: sequence {row['sequence_accuracy']:.4f}, "
            f"per digit {row['digit_accuracy']:.4f}, loss {row['loss']:.4f}"
        )

    def _tell(self) -> None:
        """Prints the table of what was scored now."""
        if self._last:
            tables.print_results(self._console, self._options, self._source, self._rows, self._last)
        else:
            self._console.print("nothing new was saved to score")
