"""Scores steps of a run and writes the results into it: those saved now, or as they are saved."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from etils import epath

from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.scoring import Scorer
from svhn_jax.inference.weights import choose_steps
from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.results import results

POLL_S = 1.0


@dataclass
class Evaluated:
    """What was scored.

    rows: metrics of each step. table: predictions of the step scored last. damaged: for each step
    that is left out, why.
    """

    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    table: PredictionTable | None = None
    damaged: dict[int, str] = field(default_factory=dict)


def evaluate(scorer: Scorer, step: str = "latest", terminal: Terminal = SILENT) -> Evaluated:
    """Scores the saved steps that `step` names ("all" among them), and writes the results.

    Raises:
      InputError: there is no such step.
      CheckpointError: each of the steps is damaged.
    """
    so_far = Evaluated()
    with Checkpoints(scorer.run.steps_path, terminal) as checkpoints:
        chosen = choose_steps(step, checkpoints, scorer.run)
        photos = len(chosen) * len(scorer.split.images)
        with terminal.progress(f"{len(chosen)} step(s)", photos, "photos") as advance:
            for number in chosen:
                _score(scorer, checkpoints, number, so_far, advance)
    if not so_far.rows:
        first, *others = so_far.damaged.values()
        raise CheckpointError(first, others)
    return so_far


def follow(scorer: Scorer, patience_s: float, terminal: Terminal = SILENT) -> Evaluated:
    """Scores each step as a training saves it, until the last step of the run is scored.

    Steps in the results table are not scored again, so the same command continues. A run that is
    killed and resumed meanwhile is followed.

    Raises:
      InputError: no process has trained the run for `patience_s` seconds, and its last step is not
        saved.
    """
    so_far, last_sign = Evaluated(), time.monotonic()
    while True:
        is_trained = scorer.run.is_being_trained()  # first: a step saved later is seen next time
        new = _saved_steps(scorer) - _scored_steps(scorer) - so_far.damaged.keys()
        if new:
            with Checkpoints(scorer.run.steps_path, terminal) as checkpoints:
                for step in sorted(new):
                    _score(scorer, checkpoints, step, so_far)
                    _print_step(step, so_far, terminal)
        if scorer.run.facts().get("total_steps") in _scored_steps(scorer) | so_far.damaged.keys():
            return so_far
        if new or is_trained:
            last_sign = time.monotonic()
        elif time.monotonic() - last_sign >= patience_s:
            raise InputError(
                f"{scorer.run.path}: no process has trained it for {patience_s:g} s, and its last "
                "step is not saved; train it, then watch again: scored steps stay"
            )
        time.sleep(POLL_S)


def _score(
    scorer: Scorer,
    checkpoints: Checkpoints,
    step: int,
    so_far: Evaluated,
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Scores a step, and writes and keeps the result; keeps the error of a damaged step."""
    try:
        so_far.rows[step], so_far.table = scorer.score(checkpoints, step, advance)
    except CheckpointError as error:
        if step in _saved_steps(scorer):  # else training has deleted it meanwhile
            so_far.damaged[step] = str(error)
        return
    scorer.write(step, so_far.rows[step], so_far.table)


def _print_step(step: int, so_far: Evaluated, terminal: Terminal) -> None:
    if step in so_far.damaged:
        terminal.error(f"left out: {so_far.damaged[step]}")
    elif step in so_far.rows:
        row = so_far.rows[step]
        terminal.result({"step": step} | row)
        accuracy = f"sequence {row['sequence_accuracy']:.4f}, loss {row['loss']:.4f}"
        terminal.print(f"[{time.strftime('%H:%M:%S')}] step {step}: {accuracy}")


def _saved_steps(scorer: Scorer) -> set[int]:
    folder = epath.Path(scorer.run.steps_path)
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return {int(name) for name in names if name.isdigit()}


def _scored_steps(scorer: Scorer) -> set[int]:
    """The steps in the results table; a run that starts anew moves that table away."""
    return {int(row["step"]) for row in results(scorer.run, scorer.name)}
