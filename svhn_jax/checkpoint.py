"""Checkpoints of a run, through Orbax. The only module that imports it."""

import errno
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import NamedSharding
from orbax.checkpoint import checkpoint_managers as managers

from svhn_jax.checksums import checksums
from svhn_jax.errors import CheckpointError, InputError
from svhn_jax.state import TrainState


class Checkpoints:
    """The steps saved in one folder. Saving is asynchronous; leave the `with` block to be sure it is done."""

    def __init__(self, folder: str, *, keep_newest: int = 1, keep_every_steps: int = 0, is_writer: bool = False):
        """Opens the folder; as a writer makes it, removes unfinished saves, and deletes old steps on saving.

        Kept are the newest steps, the one with the best validation, and every so many steps (0: none) one for ever.
        """
        # Orbax reports some fifty lines a save, and a failed one several times over; we tell it once.
        for chatty in ("absl", "asyncio"):
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        keep: list[managers.PreservationPolicy] = [
            managers.LatestN(keep_newest),
            managers.BestN(get_metric_fn=_merit, n=1, keep_checkpoints_without_metrics=False),
        ]
        if keep_every_steps:
            keep.append(managers.EveryNSteps(keep_every_steps))
        self._folder, self._newest = folder, -1
        self._manager = ocp.CheckpointManager(
            folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy(keep),
                create=is_writer,
                read_only=not is_writer,
                cleanup_tmp_directories=is_writer,
            ),
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(),
                "checksums": ocp.JsonCheckpointHandler(),
                "metrics": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with suppress(Exception) if kind else self._naming_failed_saves():  # an error on its way out comes first
            self._manager.close()

    def steps(self) -> list[int]:
        """The saved steps, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step with the highest validation sequence accuracy, then the lowest loss; None if none was validated."""
        merits = {step: _merit(self._metrics(step)) for step in self.steps()}
        return max(merits, key=lambda step: merits[step]) if any(merit > -1 for merit in merits.values()) else None

    def save(self, state: TrainState, validation: dict[str, float] | None) -> None:
        """Starts to save the state under its step, with its validation figures if there are any.

        A second save of the newest step is ignored.

        Raises:
          CheckpointError: this or the save before it could not be written.
        """
        step = int(state.step)
        if step == self._newest:
            return
        values = _as_dict(state)
        items = {
            "state": ocp.args.PyTreeSave(values),
            "checksums": ocp.args.JsonSave(checksums(values)),
            "metrics": ocp.args.JsonSave(validation or {}),
        }
        with self._naming_failed_saves():
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=validation)
        self._newest = step

    def wait(self) -> None:
        """Returns when every save is on disk; CheckpointError if one is not."""
        with self._naming_failed_saves():
            self._manager.wait_until_finished()

    @contextmanager
    def _naming_failed_saves(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a full disk arrives as ValueError, OSError or others
            raise CheckpointError(
                f"{self._folder}: could not save a checkpoint; see that there is space and leave to write, and run "
                f"the same command again: it goes on from the last whole one ({_one_line(error)})"
            ) from None

    def restore_newest(
        self, abstract: TrainState, sharding: NamedSharding, tell: Callable[[str], None]
    ) -> TrainState | None:
        """The state of the newest step that is whole; None if nothing was saved.

        Damaged steps after it are told of, and moved to the folder `damaged` beside this one, since
        training will come to those steps again; nothing is deleted.

        Raises:
          CheckpointError: no step is whole; nothing was moved.
        """
        damaged: dict[int, CheckpointError] = {}
        for step in reversed(self.steps()):
            try:
                state = self.restore(step, abstract, sharding)
            except CheckpointError as error:
                damaged[step] = error
                continue
            for number, why in damaged.items():
                tell(f"{why}; skipped, and moved to {self._move_aside(number)}")
            if damaged:
                self._manager.reload()
            return state
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
        return target

    def restore(self, step: int, abstract: TrainState, sharding: NamedSharding) -> TrainState:
        """The whole state of a step.

        Raises:
          CheckpointError: the step is damaged, or does not fit the abstract state.
          InputError: it could not be reached, or memory does not suffice.
        """
        return TrainState(**self._restore(step, _as_dict(abstract), sharding, is_partial=False))

    def restore_eval_variables(self, step: int, abstract: TrainState, sharding: NamedSharding) -> Any:
        """Only what evaluation needs of a step: see TrainState.eval_variables."""
        wanted = (
            {"ema": abstract.ema} if abstract.ema else {"params": abstract.params, "batch_stats": abstract.batch_stats}
        )
        restored = self._restore(step, wanted, sharding, is_partial=True)
        return restored.get("ema", restored)

    def _restore(self, step: int, abstract: Any, sharding: NamedSharding, *, is_partial: bool) -> Any:
        restore_args = jax.tree.map(lambda x: ocp.ArrayRestoreArgs(sharding=sharding, dtype=x.dtype), abstract)
        args = ocp.args.PyTreeRestore(abstract, restore_args=restore_args, partial_restore=is_partial)
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(state=args))["state"]
            if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(restored)):
                raise ValueError("an array is missing")
            saved = self._manager.restore(step, args=ocp.args.Composite(checksums=ocp.args.JsonRestore()))["checksums"]
            for path, sums in checksums(restored).items():
                if saved[path] != sums:
                    raise ValueError(f"the checksum of {path} is not the one it was saved with")
        except Exception as error:  # a damaged step raises anything at all
            if _is_of_access(error):
                raise InputError(
                    f"{self._folder}/{step}: could not be read just now; see that it can be, and run the same command "
                    f"again ({_one_line(error)})"
                ) from None
            raise CheckpointError(
                f"{self._folder}/{step}: this checkpoint cannot be used: it is damaged or of another model "
                f"({_one_line(error)})"
            ) from None
        return restored

    def _metrics(self, step: int) -> dict[str, float]:
        try:
            return self._manager.metrics(step) or {}
        except Exception:  # as above: a step whose metrics cannot be read is not the best one
            return {}


def _merit(metrics: dict[str, float] | None) -> float:
    """What is greatest for the best step: accuracy, and among equals the lower loss; -1 for a step not validated or diverged."""
    if not metrics or "sequence_accuracy" not in metrics or not math.isfinite(metrics["loss"]):
        return -1.0
    return metrics["sequence_accuracy"] - 1e-9 * min(metrics["loss"], 100.0)


def _is_of_access(error: Exception) -> bool:
    """Whether an error says nothing of the checkpoint itself, but of the way to it, or of the memory for it."""
    words = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAUTHENTICATED")
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return True
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _as_dict(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "params", "batch_stats", "opt_state", "ema")}


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
