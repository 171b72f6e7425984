"""Checkpoints of a run, through Orbax. The only module that imports Orbax.

Only process zero opens the folder: every process holds the whole state, so one process writes it, and reads it for all.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as managers
from orbax.checkpoint.options import MultiprocessingOptions

from svhn_jax.errors import CheckpointError, TryAgainError, one_line
from svhn_jax.model.metrics import NO_SCORE, selection_score
from svhn_jax.runs.checksums import by_path, copy_with_sums, sealed, unsealed, verify
from svhn_jax.runs.orbax_errors import quieten_orbax, raise_unless_damage

_METRICS, _METADATA = "metrics of step {}", "metadata of step {}"  # names in the seals
_DELETING = (
    "deleting"  # in the folder of the steps: a step is renamed into it before its files are deleted
)


class Checkpoints:
    """The steps saved in one folder. Saves run in a background thread; leaving the `with` block waits for them.

    with Checkpoints(run.steps_path) as checkpoints:
        variables = load_variables(checkpoints, checkpoints.best_step(), run.config(), network)
    """

    def __init__(
        self,
        folder: str,
        *,
        keep_newest: int = 1,
        keep_every_steps: int = 0,
        metadata: dict[str, Any] | None = None,
        is_writer: bool = False,
    ):
        """Opens the folder. A writer creates it, removes unfinished saves and deletions, and deletes old steps.

        Args:
          keep_newest: number of newest steps kept. The best step is kept too, and each step whose validation metrics
            are damaged, because it may have been the best.
          keep_every_steps: steps divisible by it are never deleted; 0: none.
          metadata: JSON values written with each step; they describe the run.
        """
        quieten_orbax()
        keep: list[managers.PreservationPolicy] = [
            managers.LatestN(keep_newest),
            _KeepSteps(lambda steps: {self._best_of(steps), *self.damaged_metrics(steps)}),
        ]
        if keep_every_steps:
            keep.append(managers.EveryNSteps(keep_every_steps))
        self._folder, self._newest, self._metadata = folder, -1, metadata or {}
        self._scores: dict[int, float] = {}  # NaN where the validation metrics are damaged
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._saving: Future[None] | None = None
        if is_writer:
            epath.Path(folder).mkdir(parents=True, exist_ok=True)
            self._finish_deletions()
        alone = jax.process_index()  # other processes take no part in saving
        self._manager = _Manager(
            folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy(keep),
                create=False,
                read_only=not is_writer,
                cleanup_tmp_directories=is_writer,
                todelete_subdir=_DELETING if is_writer else None,  # in a bucket Orbax ignores it
                lightweight_initialize=True,  # reads no step's metadata, which may be damaged
                enable_async_checkpointing=False,  # our own thread also copies to the host, outside the loop
                multiprocessing_options=MultiprocessingOptions(
                    primary_host=alone,
                    active_processes={alone},
                    barrier_sync_key_prefix=f"process{alone}",
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
        try:
            with (
                suppress(Exception) if kind else nullcontext()
            ):  # an error on its way out comes first
                self.wait()
        finally:
            self._thread.shutdown()
            self._manager.close()

    def steps(self) -> list[int]:
        """The saved steps, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step of highest `selection_score` on validation; None if no step with undamaged metrics was validated."""
        return self._best_of(self.steps())

    def damaged_metrics(self, steps: Sequence[int]) -> list[int]:
        """The steps among these whose saved validation metrics are missing or fail their checksum."""
        return [step for step in steps if math.isnan(self._score_of(step))]

    def tell_damaged_metrics(self, tell: Callable[[str], None]) -> None:
        """Tells which steps cannot be the best because their validation metrics are damaged."""
        if damaged := ", ".join(map(str, self.damaged_metrics(self.steps()))):
            tell(
                f"{self._folder}: the validation metrics of step {damaged} are damaged; not considered for the best step"
            )

    def validation(self, step: int) -> dict[str, float] | None:
        """The metrics of a step on the validation split; empty if it was not validated, None if they are damaged."""
        return self._manager.metrics(step)

    def _best_of(self, steps: Sequence[int]) -> int | None:
        candidates = [step for step in steps if self._score_of(step) > NO_SCORE]  # excludes NaN
        return max(candidates, key=self._score_of, default=None)

    def _score_of(self, step: int) -> float:
        if step not in self._scores:
            validation = self._manager.metrics(step)
            self._scores[step] = math.nan if validation is None else selection_score(validation)
        return self._scores[step]

    def save(
        self,
        step: int,
        tree: Any,
        validation: dict[str, float] | None,
        window: dict[str, float] | None = None,
    ) -> None:
        """Saves a tree of arrays in the background. Returns once its copy is dispatched on the device.

        One save is written at a time: waits for the save before it. A second save of the newest step is ignored.

        Args:
          tree: nested dicts of arrays, replicated on their devices.
          validation: the metrics of the step on the validation split, if it was validated.
          window: sums of the steps since the last log line; a resumed run's next line includes them.

        Raises:
          CheckpointError: the save before it could not be written.
        """
        before = self._saving
        if step != self._newest:
            # A copy, because the next train step donates the state; of one device, because all hold the same.
            values, sums = copy_with_sums(jax.tree.map(lambda x: x.addressable_data(0), tree))
            self._saving = self._thread.submit(
                self._write, step, values, sums, validation, window or {}
            )
            self._newest = step
            if before:  # its failure does not keep this save from being tried
                self._require(before)

    def raise_if_failed(self) -> None:
        """Raises CheckpointError if the last save has failed. Does not wait for a running one."""
        if self._saving and self._saving.done():
            self.wait()

    def _write(
        self,
        step: int,
        values: Any,
        sums: jax.Array,
        validation: dict[str, float] | None,
        window: dict[str, float],
    ) -> None:
        self._scores[step] = selection_score(validation)
        items = {
            "state": ocp.args.PyTreeSave(jax.device_get(values)),
            "checksums": ocp.args.JsonSave(by_path(values, sums)),
            "metrics": ocp.args.JsonSave(sealed(validation or {}, _METRICS.format(step))),
            "metadata": ocp.args.JsonSave(
                sealed(
                    self._metadata | ({"window": window} if window else {}), _METADATA.format(step)
                )
            ),
        }
        self._manager.save(step, args=ocp.args.Composite(**items))
        self._finish_deletions()

    def _finish_deletions(self) -> None:
        """Deletes the files of steps that Orbax has moved to `deleting`: a kill meanwhile leaves no partial step."""
        if (deleting := epath.Path(self._folder) / _DELETING).exists():
            deleting.rmtree()

    def wait(self) -> None:
        """Waits until every save is on disk; raises CheckpointError if one failed."""
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
                f"{self._folder}: could not save a checkpoint; check free space and permissions, then run "
                f"the same command again: it resumes from the last complete one ({one_line(error)})"
            ) from None

    def restore_newest(self, abstract: Any, tell: Callable[[str], None]) -> Any:
        """The tree of the newest undamaged step, on the host; None if nothing was saved. See `restore`.

        Damaged steps after it are reported and moved to the folder `damaged` beside this one, because training will
        save those steps again; nothing is deleted.

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
                tell(f"{why}; skipped, and moved to {self._move_aside(number)}")
            if damaged:
                self._manager.reload()
            return tree
        if damaged:
            raise CheckpointError(
                f"{damaged[max(damaged)]}; so is every step before it: train under another --name"
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
          abstract: shapes and types of the saved arrays.
          is_partial: read only the part of the saved tree that `abstract` holds.

        Raises:
          CheckpointError: the step is damaged, or does not fit the abstract tree.
          TryAgainError: storage, memory or a device failed, so nothing is known of damage.
        """
        restore_args = jax.tree.map(
            lambda x: ocp.RestoreArgs(restore_type=np.ndarray, dtype=x.dtype), abstract
        )
        args = ocp.args.PyTreeRestore(
            abstract, restore_args=restore_args, partial_restore=is_partial
        )
        try:
            restored = self._read(step, "state", args)
            verify(restored, abstract, self._read(step, "checksums", ocp.args.JsonRestore()))
        except Exception as error:  # a damaged step raises anything at all
            raise_unless_damage(error, f"{self._folder}/{step}")
            raise CheckpointError(
                f"{self._folder}/{step}: this checkpoint cannot be used: it is damaged or of another model "
                f"({one_line(error)})"
            ) from None
        return restored

    def newest_metadata(self) -> dict[str, Any]:
        """The metadata of the newest step whose metadata are undamaged; empty if there is none."""
        return next(
            (metadata for step in reversed(self.steps()) if (metadata := self.metadata(step))), {}
        )

    def metadata(self, step: int) -> dict[str, Any]:
        """The metadata written with a step: JSON objects by name; empty if damaged. Raises TryAgainError as `restore`."""
        try:
            metadata = unsealed(
                self._read(step, "metadata", ocp.args.JsonRestore()), _METADATA.format(step)
            )
            if not all(isinstance(value, dict) for value in metadata.values()):
                raise ValueError("a value is no JSON object")
            return metadata
        except Exception as error:  # as in `restore`; training can continue without it
            raise_unless_damage(error, f"{self._folder}/{step}")
            return {}

    def _read(self, step: int, name: str, args: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**{name: args}))[name]


class _Manager(ocp.CheckpointManager):
    """Orbax's manager; it verifies the validation metrics of a step, and gives None for damaged ones."""

    def metrics(self, step: int) -> dict[str, Any] | None:
        try:
            return unsealed(super().metrics(step), _METRICS.format(step))
        except Exception as error:  # damaged files raise anything at all
            raise_unless_damage(error, f"{self.directory}/{step}")
            return None


class _KeepSteps(managers.PreservationPolicy):
    """Keeps the steps that `wanted` chooses. (Orbax's BestN would also keep steps that were not validated.)"""

    def __init__(self, wanted: Callable[[Sequence[int]], set[int | None]]):
        self._wanted = wanted

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        wanted = self._wanted(steps)
        return [step in wanted for step in steps]
