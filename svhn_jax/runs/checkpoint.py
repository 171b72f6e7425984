"""Checkpoints of a run, through Orbax. The only module that imports Orbax.

steps/N/state   the arrays
steps/N/about   JSON: validation metrics, SHA-256 of them and of each array

Only process zero opens the folder: every process holds the whole state, so one process writes it,
and reads it for all.
"""

import dataclasses
import hashlib
import json
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
        is_writer: bool = False,
    ):
        """Opens the folder. A writer creates it, and removes unfinished saves.

        Args:
          terminal: for warnings of damaged steps.
          keep_newest: number of newest steps that a save keeps. The best step is kept too.
        """
        _quieten_orbax()
        self._folder, self._terminal = epath.Path(folder), terminal
        self._keep_newest, self._newest = keep_newest, -1
        self._validation: dict[int, dict[str, float]] = {}
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._saving: Future[None] | None = None
        if is_writer:
            self._folder.mkdir(parents=True, exist_ok=True)
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
        """The metrics of a step on the validation split; {} if not validated, or damaged.

        Warns once of a step with damaged metrics.
        """
        if step not in self._validation:
            self._validation[step] = {}
            try:
                about = self._read(step, "about", ocp.args.JsonRestore())
                if about["sha256"]["validation"] != _digest_of_metrics(step, about["validation"]):
                    raise ValueError("their checksum is not the one they were saved with")
                self._validation[step] = about["validation"]
            except Exception as error:  # a damaged step raises anything
                self._terminal.warn(
                    f"{self._folder}/{step}: the metrics of this step are damaged "
                    f"({one_line(error)}); it is not considered for the best step"
                )
        return self._validation[step]

    def save(self, step: int, tree: Any, validation: dict[str, float] | None) -> None:
        """Saves a tree of arrays in the background, after the save before it.

        Returns once a copy is dispatched on the device. Ignores a second save of the newest step.

        Args:
          tree: nested dicts of arrays, replicated on their devices.
          validation: the metrics of the step on the validation split, if it was validated.

        Raises:
          CheckpointError: the save before it could not be written.
        """
        if step == self._newest:
            return
        self.wait()
        # A copy, because the next train step donates the state; of one device: all hold the same.
        copied = _copy(jax.tree.map(lambda x: x.addressable_data(0), tree))
        self._newest = step
        self._saving = self._thread.submit(self._write, step, copied, validation or {})

    def raise_if_failed(self) -> None:
        """Raises CheckpointError if the last save has failed; does not wait for it."""
        if self._saving and self._saving.done():
            self.wait()

    def wait(self) -> None:
        """Waits until every save is on disk; raises CheckpointError if one failed."""
        saving, self._saving = self._saving, None
        try:
            if saving:
                saving.result()
        except Exception as error:  # a full disk arrives as ValueError, OSError or others
            raise CheckpointError(
                f"{self._folder}: could not save a checkpoint; check free space and permissions, "
                "then run the same command again: it resumes from the last complete one "
                f"({one_line(error)})"
            ) from None

    @own_settings()
    def _write(self, step: int, copied: Any, validation: dict[str, float]) -> None:
        tree = jax.device_get(copied)
        sums = digests(tree) | {"validation": _digest_of_metrics(step, validation)}
        about = {"validation": validation, "sha256": sums}
        items = {"state": ocp.args.PyTreeSave(tree), "about": ocp.args.JsonSave(about)}
        self._manager.save(step, args=ocp.args.Composite(**items))
        self._validation[step] = validation
        for old in self.steps()[: -self._keep_newest]:
            if old != self.best_step():
                self._manager.delete(old)

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
                target = self._folder.parent / "damaged" / f"{number}-{time.time_ns()}"
                target.parent.mkdir(parents=True, exist_ok=True)
                (self._folder / str(number)).rename(target)
                self._validation.pop(number, None)
                self._terminal.warn(f"{why}; skipped, and moved to {target}")
            self._manager.reload()
            return tree
        if damaged:
            raise CheckpointError(
                f"{damaged[max(damaged)]}; so is every step before it: train under another --name"
            )
        return None

    def restore(self, step: int, abstract: Any) -> Any:
        """The tree of a step, as numpy arrays.

        Args:
          abstract: shapes and types of the saved arrays, or of a part of the tree; None: of the
            variables that evaluation uses.

        Raises:
          CheckpointError: the step is damaged, cannot be reached, or does not fit.
        """
        try:
            return self._restore(step, abstract or self._abstract_weights(step))
        except Exception as error:  # a damaged step raises anything
            raise CheckpointError(
                f"{self._folder}/{step}: this checkpoint cannot be used: it is damaged or of "
                f"another model, or cannot be reached ({one_line(error)})"
            ) from None

    def restore_weights(self, step: int) -> dict[str, Any]:
        """The variables that evaluation uses, of any network: the running average if there is one.

        They are numpy arrays. Raises CheckpointError as `restore`.
        """
        tree = self.restore(step, None)
        weights: dict[str, Any] = tree.get("ema", tree)
        return weights

    def _abstract_weights(self, step: int) -> Any:
        saved = self._manager.item_metadata(step)["state"].tree
        names = ["ema"] if saved.get("ema") else ["params", "batch_stats"]
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
            {name: saved.get(name, {}) for name in names},
        )

    def _restore(self, step: int, abstract: Any) -> Any:
        restore_args = jax.tree.map(
            lambda x: ocp.RestoreArgs(restore_type=np.ndarray, dtype=x.dtype), abstract
        )
        args = ocp.args.PyTreeRestore(abstract, restore_args=restore_args, partial_restore=True)
        tree = self._read(step, "state", args)
        saved = self._read(step, "about", ocp.args.JsonRestore())["sha256"]
        for expected, found in zip(jax.tree.leaves(abstract), jax.tree.leaves(tree), strict=True):
            if (found.shape, found.dtype) != (expected.shape, expected.dtype):
                raise ValueError("an array of another shape or type")
        for path, digest in digests(tree).items():
            if saved[path] != digest:
                raise ValueError(f"the checksum of {path} is not the one it was saved with")
        return tree

    def _read(self, step: int, name: str, args: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**{name: args}))[name]


def _open_manager(folder: str, *, is_writer: bool) -> ocp.CheckpointManager:
    alone = jax.process_index()  # other processes take no part in saving
    by_one = MultiprocessingOptions(primary_host=alone)
    options = ocp.CheckpointManagerOptions(
        create=False,
        read_only=not is_writer,
        cleanup_tmp_directories=is_writer,
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


def digests(tree: Any) -> dict[str, str]:
    """The SHA-256 of each numpy array of a tree, by its path, such as params/stem/kernel."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): _digest(array.tobytes())
        for path, array in jax.tree_util.tree_leaves_with_path(tree)
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of_metrics(step: int, validation: dict[str, float]) -> str:
    return _digest(json.dumps([step, validation], sort_keys=True).encode())
