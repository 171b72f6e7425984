"""Checkpoints of a run, through Orbax. The only module that imports it.

Of a run's processes only one opens the folder: every process holds the whole state, so one can write it, and one
can read it for all.
"""

import errno
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as managers
from orbax.checkpoint.options import MultiprocessingOptions

from svhn_jax.errors import CheckpointError, TryAgainError, one_line
from svhn_jax.runs.checksums import array_sums, by_path, checksums, sealed, unsealed

_METRICS, _METADATA = "metrics of step {}", "metadata of step {}"  # what is sealed
_DELETING = "deleting"  # in the folder of the steps: a step is renamed into it before its files are deleted


class Checkpoints:
    """The steps saved in one folder. Saving goes on beside the training; leave the `with` block to be sure it is done."""

    def __init__(
        self,
        folder: str,
        *,
        keep_newest: int = 1,
        keep_every_steps: int = 0,
        metadata: dict[str, Any] | None = None,
        is_writer: bool = False,
    ):
        """Opens the folder; as a writer makes it, removes unfinished saves and deletions, and deletes old steps on saving.

        Kept are the newest steps, the one with the best validation, those whose validation figures are damaged (any
        of them may have been the best), and every so many steps (0: none) one for ever.

        Args:
          metadata: what is written beside each step, so that it says by itself what it is: JSON values.
        """
        _quieten_orbax()
        keep: list[managers.PreservationPolicy] = [
            managers.LatestN(keep_newest),
            _KeepSteps(lambda steps: {self._best_of(steps), *self.damaged_metrics(steps)}),
        ]
        if keep_every_steps:
            keep.append(managers.EveryNSteps(keep_every_steps))
        self._folder, self._newest, self._metadata = folder, -1, metadata or {}
        self._scores: dict[int, float] = {}  # NaN where the validation figures are damaged
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._saving: Future[None] | None = None
        if is_writer:
            epath.Path(folder).mkdir(parents=True, exist_ok=True)
            self._finish_deletions()
        alone = jax.process_index()  # whatever other processes there are, they do not take part
        self._manager = _Manager(
            folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy(keep),
                create=False,
                read_only=not is_writer,
                cleanup_tmp_directories=is_writer,
                todelete_subdir=_DELETING if is_writer else None,  # in a bucket Orbax ignores it
                lightweight_initialize=True,  # reads no step's metadata, which may be damaged
                enable_async_checkpointing=False,  # our own thread also takes the copy to the host out of the loop
                multiprocessing_options=MultiprocessingOptions(
                    primary_host=alone, active_processes={alone}, barrier_sync_key_prefix=f"process{alone}"
                ),
            ),
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(
                    multiprocessing_options=MultiprocessingOptions(primary_host=alone)
                ),
                "checksums": ocp.JsonCheckpointHandler(),
                "metrics": ocp.JsonCheckpointHandler(),
                "metadata": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with suppress(Exception) if kind else nullcontext():  # an error on its way out comes first
            self.wait()
        self._thread.shutdown()
        self._manager.close()

    def steps(self) -> list[int]:
        """The saved steps, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step with the highest validation sequence accuracy, then the lowest loss; None if none was validated.

        A step whose validation figures are damaged is no candidate.
        """
        return self._best_of(self.steps())

    def damaged_metrics(self, steps: Sequence[int]) -> list[int]:
        """Those of the steps whose validation figures cannot be read, or are not those they were saved with."""
        return [step for step in steps if math.isnan(self._score_of(step))]

    def tell_damaged_metrics(self, tell: Callable[[str], None]) -> None:
        """Names the steps that cannot be the best because their validation figures are damaged."""
        if damaged := self.damaged_metrics(self.steps()):
            numbers = ", ".join(map(str, damaged))
            tell(
                f"{self._folder}: the validation figures of step {numbers} are damaged; not considered for the best step"
            )

    def _best_of(self, steps: Sequence[int]) -> int | None:
        candidates = [step for step in steps if self._score_of(step) > _NO_SCORE]  # NaN is not
        return max(candidates, key=self._score_of, default=None)

    def _score_of(self, step: int) -> float:
        if step not in self._scores:
            figures = self._manager.metrics(step)
            self._scores[step] = math.nan if figures is None else _selection_score(figures)
        return self._scores[step]

    def save(
        self, step: int, tree: Any, validation: dict[str, float] | None, window: dict[str, float] | None = None
    ) -> None:
        """Starts to save a tree of arrays under a step. Returns as soon as its copy is under way on the device.

        One save is written at a time. A second save of the newest step is ignored.

        Args:
          tree: nested dicts of arrays, which lie whole on each of their devices.
          validation: the metrics of the step on the validation split, if it was validated.
          window: sums of the steps since the last log line, kept in `metadata` for a resumed run's next line.

        Raises:
          CheckpointError: the save before it could not be written.
        """
        before = self._saving
        if step != self._newest:
            # The copy, for the next step takes the state's own memory; of one device, for all hold the same.
            values, sums = _copy(jax.tree.map(lambda x: x.addressable_data(0), tree))
            self._saving = self._thread.submit(self._write, step, values, sums, validation, window or {})
            self._newest = step
            if before:  # this one is tried whatever became of that
                self._require(before)

    def raise_if_failed(self) -> None:
        """CheckpointError where the last save has ended, and not well. Waits for nothing."""
        if self._saving and self._saving.done():
            self.wait()

    def _write(
        self, step: int, values: Any, sums: jax.Array, validation: dict[str, float] | None, window: dict[str, float]
    ) -> None:
        self._scores[step] = _selection_score(validation)
        items = {
            "state": ocp.args.PyTreeSave(jax.device_get(values)),
            "checksums": ocp.args.JsonSave(by_path(values, sums)),
            "metrics": ocp.args.JsonSave(sealed(validation or {}, _METRICS.format(step))),
            "metadata": ocp.args.JsonSave(
                sealed(self._metadata | ({"window": window} if window else {}), _METADATA.format(step))
            ),
        }
        self._manager.save(step, args=ocp.args.Composite(**items))
        self._finish_deletions()

    def _finish_deletions(self) -> None:
        """Deletes the files of steps that were renamed for it. A kill meanwhile leaves no part of a step among the steps."""
        if (deleting := epath.Path(self._folder) / _DELETING).exists():
            deleting.rmtree()

    def wait(self) -> None:
        """Returns when every save is on disk; CheckpointError if one is not."""
        saving, self._saving = self._saving, None
        if saving:
            self._require(saving)

    def _require(self, saving: "Future[None]") -> None:
        try:
            saving.result()
        except TryAgainError:  # the metrics of an older step could not be read
            raise
        except Exception as error:  # a full disk arrives as ValueError, OSError or others
            raise CheckpointError(
                f"{self._folder}: could not save a checkpoint; see that there is space and leave to write, and run "
                f"the same command again: it goes on from the last whole one ({one_line(error)})"
            ) from None

    def restore_newest(self, abstract: Any, tell: Callable[[str], None]) -> Any:
        """The tree of the newest step that is whole, on the host; None if nothing was saved. See `restore`.

        Damaged steps after it are told of, and moved to the folder `damaged` beside this one, since
        training will come to those steps again; nothing is deleted.

        Raises:
          CheckpointError: no step is whole; nothing was moved.
        """
        damaged: dict[int, CheckpointError] = {}
        for step in reversed(self.steps()):
            try:
                tree = self.restore(step, abstract)
            except CheckpointError as error:
                damaged[step] = error
                continue
            for number, why in damaged.items():
                tell(f"{why}; skipped, and moved to {self._move_aside(number)}")
            if damaged:
                self._manager.reload()
            return tree
        if damaged:
            raise CheckpointError(
                f"{damaged[max(damaged)]}; no step before it is whole either: train under another --name"
            )
        return None

    def _move_aside(self, step: int) -> epath.Path:
        folder = epath.Path(self._folder)
        target = folder.parent / "damaged" / f"{step}-{time.time_ns()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / str(step)).rename(target)
        self._scores.pop(step, None)
        return target

    def restore(self, step: int, abstract: Any, *, is_partial: bool = False) -> Any:
        """The tree of a step, as numpy arrays.

        Args:
          abstract: the tree that was saved, with shapes and types in place of arrays.
          is_partial: `abstract` is a part of that tree; only that part is read.

        Raises:
          CheckpointError: the step is damaged, or does not fit the abstract tree.
          TryAgainError: it could not be reached, memory does not suffice, or a device failed: it is not known to be damaged.
        """
        restore_args = jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray, dtype=x.dtype), abstract)
        args = ocp.args.PyTreeRestore(abstract, restore_args=restore_args, partial_restore=is_partial)
        try:
            restored = self._read(step, "state", args)
            for wanted, found in zip(jax.tree.leaves(abstract), jax.tree.leaves(restored), strict=True):
                if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
                    raise ValueError("an array is missing, or of another shape")
            saved = self._read(step, "checksums", ocp.args.JsonRestore())
            for path, sums in checksums(restored).items():
                if saved[path] != sums:
                    raise ValueError(f"the checksum of {path} is not the one it was saved with")
        except Exception as error:  # a damaged step raises anything at all
            _raise_unless_damage(error, f"{self._folder}/{step}")
            raise CheckpointError(
                f"{self._folder}/{step}: this checkpoint cannot be used: it is damaged or of another model "
                f"({one_line(error)})"
            ) from None
        return restored

    def newest_metadata(self) -> dict[str, Any]:
        """What was written beside the newest step of which that can be read; empty if there is none."""
        return next((metadata for step in reversed(self.steps()) if (metadata := self.metadata(step))), {})

    def metadata(self, step: int) -> dict[str, Any]:
        """What was written beside a step: JSON objects by name; empty where that is damaged.

        Raises:
          TryAgainError: as in `restore`.
        """
        try:
            metadata = unsealed(self._read(step, "metadata", ocp.args.JsonRestore()), _METADATA.format(step))
            if not all(isinstance(value, dict) for value in metadata.values()):
                raise ValueError("a value is no JSON object")
            return metadata
        except Exception as error:  # as in `restore`; it is not needed to go on
            _raise_unless_damage(error, f"{self._folder}/{step}")
            return {}

    def _read(self, step: int, name: str, args: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**{name: args}))[name]


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, which verifies the validation figures of a step; None where they are damaged."""

    def metrics(self, step: int) -> dict[str, Any] | None:
        try:
            return unsealed(super().metrics(step), _METRICS.format(step))
        except Exception as error:  # damaged files raise anything at all
            _raise_unless_damage(error, f"{self.directory}/{step}")
            return None


class _KeepSteps(managers.PreservationPolicy):
    """Keeps the steps that `wanted` chooses of those that there are."""

    def __init__(self, wanted: Callable[[Sequence[int]], set[int | None]]):
        self._wanted = wanted

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        wanted = self._wanted(steps)
        return [step in wanted for step in steps]


_NO_SCORE = -1.0


def _selection_score(metrics: Any) -> float:
    """What is greatest for the best step: accuracy, and among equals the lower loss; -1 for a step not validated or diverged."""
    try:
        accuracy, loss = float(metrics["sequence_accuracy"]), float(metrics["loss"])
    except (KeyError, TypeError, ValueError):
        return _NO_SCORE
    return accuracy - 1e-9 * min(loss, 100.0) if math.isfinite(accuracy) and math.isfinite(loss) else _NO_SCORE


def _quieten_orbax() -> None:
    """Orbax reports some fifty lines a save, and a failed one several times over; we tell it once."""
    for chatty in ("absl", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _without_late_answers


def _without_late_answers(unraisable: Any) -> None:
    """For sys.unraisablehook, where TensorStore's threads end that come to tell Orbax of a save that has failed already."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _raise_unless_damage(error: Exception, place: str) -> None:
    """Raises TryAgainError where reading `place` failed for another reason than damage."""
    if not _is_damage(error):
        raise TryAgainError(
            f"{place}: could not be read just now; see that it can be, and run the same command again ({one_line(error)})"
        ) from None


def _is_damage(error: BaseException) -> bool:
    """Whether an error may come of the checkpoint itself: not of the way to it, of the memory for it, or of a device."""
    words = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAUTHENTICATED")
    if isinstance(error, MemoryError | jax.errors.JaxRuntimeError) or any(word in str(error) for word in words):
        return False
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return False
    return error.__cause__ is None or _is_damage(error.__cause__)  # Orbax and TensorStore raise errors from others


@jax.jit
def _copy(values: Any) -> tuple[Any, jax.Array]:
    """A copy, and the checksums of its arrays."""
    return jax.tree.map(jnp.copy, values), array_sums(values)
