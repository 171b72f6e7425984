"""Stops a run that has diverged."""

import math
from typing import Any

from svhn_jax.errors import InputError
from svhn_jax.output import Terminal
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.no_checkpoints import NoCheckpoints
from svhn_jax.training import processes

MAX_SKIPPED = 100  # consecutive updates skipped by skip_nonfinite before the run is stopped


class DivergenceWatch:
    """Stops a run whose loss is not finite; with skip_nonfinite, a run whose last MAX_SKIPPED updates were all skipped."""

    def __init__(self, terminal: Terminal, skips: bool, checkpoints: Checkpoints | NoCheckpoints):
        self._terminal, self._skips, self._checkpoints = terminal, skips, checkpoints
        self._skipped_in_a_row = 0

    def check_train(
        self, rows: list[dict[str, Any]], train_metrics: dict[str, float], step: int
    ) -> None:
        """Checks the steps up to `step`; warns of skipped updates.

        Args:
          rows: sums of each step since the last log line; the first row of a resumed run may cover several steps.
          train_metrics: the metrics of these rows together.
        """
        if not self._skips:
            self._require_finite(train_metrics["loss"], f"up to step {step}")
            return
        for row in rows:
            self._skipped_in_a_row = (
                0 if row["examples"] else self._skipped_in_a_row + int(row["updates_skipped"])
            )
        if skipped := int(train_metrics["updates_skipped"]):
            self._terminal.print(
                f"warning: step {step}: {skipped} updates since the last line were not finite; skipped"
            )
        if self._skipped_in_a_row >= MAX_SKIPPED:
            self._stop(
                f"the last {self._skipped_in_a_row} updates, up to step {step}, were all skipped"
            )

    def check_validation(self, validation: dict[str, float], step: int) -> None:
        """Checks the metrics of the validation split after `step`."""
        self._require_finite(validation["loss"], f"in the validation of step {step}")

    def _require_finite(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss} {where}")

    def _stop(self, what: str) -> None:
        saved = processes.on_process_zero(self._last_saved)  # only the main process knows
        remedies = ["a lower --optimizer.learning-rate", "--optimizer.clip-norm 1"]
        if not self._skips:
            remedies.append("--optimizer.skip-nonfinite")
        raise InputError(
            f"{what}: the run has diverged{saved or ''}; train under another --name with {' or '.join(remedies)}"
        )

    def _last_saved(self) -> str:
        self._checkpoints.wait()
        saved = self._checkpoints.steps()
        return (
            f"; its last checkpoint, step {saved[-1]}, is kept"
            if saved
            else "; it has no checkpoint yet"
        )
