"""Checkpoints of a run, through Orbax. The only module that imports Orbax.

steps/N/state   the arrays
steps/N/about   JSON: validation metrics, sums since the last log line, SHA-256 of each array

Only process zero opens the folder: every process holds the whole state, so one process writes it,
and reads it for all.
"""

import dataclasses
import logging
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.options import MultiprocessingOptions

from svhn_jax.errors import CheckpointError, one_line
from svhn_jax.model.metrics import NO_SCORE, selection_score
from svhn_jax.model.settings import own_settings
from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs import checksums

VALUES = "validation and window"  # their name among the checksums of arrays
DELETING = "deleting"  # a step is renamed into this folder before its files are deleted


class Checkpoints:
    """The steps saved in one folder. A thread saves; leaving the `with` block waits for it.

    with Checkpoints(run.steps_path) as checkpoints:
        variables = checkpoints.restore_weights(checkpoints.best_step())
    """

    def __init__(
        self,
        folder: str,
        terminal: Terminal = SILENT,
        *,
        keep_newest: int = 1,
        keep_every_steps: int = 0,
        is_writer: bool = False,
    ):
        """Opens the folder. A writer creates it, and removes unfinished saves and deletions.

        Args:
          terminal: for warnings of damaged steps.
          keep_newest: number of newest steps that a save keeps. The best step is kept too.
          keep_every_steps: steps divisible by it are never deleted; 0: none.
        """
        _quieten_orbax()
        self._folder, self._terminal = epath.Path(folder), terminal
        self._keep_newest, self._keep_every_steps = keep_newest, keep_every_steps
        self._newest, self._known = -1, dict[int, dict[str, Any]]()
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._saving: Future[None] | None = None
        if is_writer:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._finish_deletions()
        self._manager = _open_manager(folder, is_writer=is_writer)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            with suppress(Exception) if kind else nullcontext():  # the first error is reported
                self.wait()
        finally:
            self._thread.shutdown()
            self._manager.close()

    def steps(self) -> list[int]:
        """The saved steps, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step of highest `selection_score` on validation; None if none was validated."""
        scores = {step: selection_score(self.validation(step)) for step in self.steps()}
        validated = [step for step, score in scores.items() if score > NO_SCORE]
        return max(validated, key=scores.__getitem__, default=None)

    def validation(self, step: int) -> dict[str, float]:
        """The metrics of a step on the validation split; empty if not validated, or damaged."""
        return self._about(step).get("validation", {})

    def window(self, step: int) -> dict[str, float]:
        """The `window` that a step was saved with; empty if damaged."""
        return self._about(step).get("window", {})

    def save(
        self,
        step: int,
        tree: Any,
        validation: dict[str, float] | None,
        window: dict[str, float] | None = None,
    ) -> None:
        """Saves a tree of arrays in the background, after the save before it.

        Returns once a copy is dispatched on the device. Ignores a second save of the newest step.

        Args:
          tree: nested dicts of arrays, replicated on their devices.
          validation: the metrics of the step on the validation split, if it was validated.
          window: sums of the steps since the last log line, for the next line of a resumed run.

        Raises:
          CheckpointError: the save before it could not be written. This one is still tried.
        """
        if step == self._newest:
            return
        # A copy, because the next train step donates the state; of one device: all hold the same.
        copied = _copy(jax.tree.map(lambda x: x.addressable_data(0), tree))
        before, self._newest = self._saving, step
        about = {"validation": validation or {}, "window": window or {}}
        self._saving = self._thread.submit(self._write, step, copied, about)
        self._require(before)

    def raise_if_failed(self) -> None:
        """Raises CheckpointError if the last save has failed. Does not wait for a running one."""
        if self._saving and self._saving.done():
            self.wait()

    def wait(self) -> None:
        """Waits until every save is on disk; raises CheckpointError if one failed."""
        saving, self._saving = self._saving, None
        self._require(saving)

    @own_settings()
    def _write(self, step: int, copied: Any, about: dict[str, Any]) -> None:
        tree = jax.device_get(copied)
        values = checksums.of_values(step, about["validation"], about["window"])
        about["sha256"] = checksums.of_arrays(tree) | {VALUES: values}
        items = {"state": ocp.args.PyTreeSave(tree), "about": ocp.args.JsonSave(about)}
        self._manager.save(step, args=ocp.args.Composite(**items))
        self._known[step] = about
        self._delete_old_steps()

    def _delete_old_steps(self) -> None:
        steps = self.steps()
        kept = {*steps[-self._keep_newest :], self.best_step()}
        kept |= {step for step in steps if not self._about(step)}  # one of them may be the best
        if self._keep_every_steps:
            kept |= {step for step in steps if step % self._keep_every_steps == 0}
        for step in {*steps} - kept:
            self._manager.delete(step)
        self._finish_deletions()

    def _finish_deletions(self) -> None:
        """Deletes the files of steps that Orbax has renamed: a kill leaves no partial step."""
        if (deleting := self._folder / DELETING).exists():
            deleting.rmtree()

    def _require(self, saving: "Future[None] | None") -> None:
        try:
            if saving:
                saving.result()
        except Exception as error:  # a full disk arrives as ValueError, OSError or others
            raise CheckpointError(
                f"{self._folder}: could not save a checkpoint; check free space and permissions, "
                "then run the same command again: it resumes from the last complete one "
                f"({one_line(error)})"
            ) from None

    def restore_newest(self, abstract: Any) -> Any:
        """The tree of the newest undamaged step; None if nothing was saved. See `restore`.

        Warns of damaged steps after it and moves them to the folder `damaged` beside this one,
        because training will save those steps again.

        Raises:
          CheckpointError: every step is damaged; nothing was moved.
        """
        damaged: dict[int, CheckpointError] = {}
        for step in reversed(self.steps()):
            try:
                tree = self.restore(step, abstract)
            except CheckpointError as error:
                damaged[step] = error
                continue
            for number, why in damaged.items():
                self._terminal.warn(f"{why}; skipped, and moved to {self._move_aside(number)}")
            if damaged:
                self._manager.reload()
            return tree
        if damaged:
            raise CheckpointError(
                f"{damaged[max(damaged)]}; so is every step before it: train under another --name"
            )
        return None

    def _move_aside(self, step: int) -> epath.Path:
        target = self._folder.parent / "damaged" / f"{step}-{time.time_ns()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (self._folder / str(step)).rename(target)
        self._known.pop(step, None)
        return target

    def restore(self, step: int, abstract: Any) -> Any:
        """The tree of a step, as numpy arrays.

        Args:
          abstract: shapes and types of the saved arrays, or of a part of the tree.

        Raises:
          CheckpointError: the step is damaged, cannot be reached, or does not fit.
        """
        restore_args = jax.tree.map(
            lambda x: ocp.RestoreArgs(restore_type=np.ndarray, dtype=x.dtype), abstract
        )
        args = ocp.args.PyTreeRestore(abstract, restore_args=restore_args, partial_restore=True)
        try:
            tree = self._read(step, "state", args)
            checksums.verify(tree, abstract, self._about(step)["sha256"])
        except Exception as error:  # a damaged step raises anything
            raise self._unusable(step, error) from None
        return tree

    def restore_weights(self, step: int) -> dict[str, Any]:
        """The variables that evaluation uses, of any network: the running average if there is one.

        Returns:
          "params" and "batch_stats", as numpy arrays.

        Raises:
          CheckpointError: as `restore`.
        """
        try:
            saved = self._manager.item_metadata(step)["state"].tree
            names = ["ema"] if saved.get("ema") else ["params", "batch_stats"]
            abstract = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
                {name: saved.get(name, {}) for name in names},
            )
        except Exception as error:  # as in `restore`
            raise self._unusable(step, error) from None
        tree = self.restore(step, abstract)
        weights: dict[str, Any] = tree.get("ema", tree)
        return weights

    def _unusable(self, step: int, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self._folder}/{step}: this checkpoint cannot be used: it is damaged or of another "
            f"model, or cannot be reached ({one_line(error)})"
        )

    def _about(self, step: int) -> dict[str, Any]:
        """The JSON values of a step; empty if they are damaged, of which it warns once."""
        if step not in self._known:
            about = {}
            try:
                about = self._read(step, "about", ocp.args.JsonRestore())
                values = checksums.of_values(step, about["validation"], about["window"])
                if about["sha256"][VALUES] != values:
                    raise ValueError("their checksum is not the one they were saved with")
            except Exception as error:  # as in `restore`
                about = {}
                self._terminal.warn(
                    f"{self._folder}/{step}: the metrics of this step are damaged "
                    f"({one_line(error)}); it is not considered for the best step"
                )
            self._known[step] = about
        return self._known[step]

    def _read(self, step: int, name: str, args: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**{name: args}))[name]


def _open_manager(folder: str, *, is_writer: bool) -> ocp.CheckpointManager:
    alone = jax.process_index()  # other processes take no part in saving
    by_one = MultiprocessingOptions(primary_host=alone)
    options = ocp.CheckpointManagerOptions(
        create=False,
        read_only=not is_writer,
        cleanup_tmp_directories=is_writer,
        todelete_subdir=DELETING if is_writer else None,  # in a bucket Orbax ignores it
        lightweight_initialize=True,  # reads no step's metadata, which may be damaged
        enable_async_checkpointing=False,  # our thread also copies to the host and hashes
        multiprocessing_options=dataclasses.replace(
            by_one, active_processes={alone}, barrier_sync_key_prefix=f"process{alone}"
        ),
    )
    handlers = {
        "state": ocp.PyTreeCheckpointHandler(multiprocessing_options=by_one),
        "about": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def _quieten_orbax() -> None:
    """Drops about fifty log lines a save, and reports of threads to a read that has failed."""
    for chatty in ("absl", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    if (hook := sys.unraisablehook) is sys.__unraisablehook__:
        late = "Event loop is closed"
        sys.unraisablehook = lambda report: None if str(report.exc_value) == late else hook(report)


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)
