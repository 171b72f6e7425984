"""Many processes that train one run together, through jax.distributed."""

import hashlib
import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import numpy as np
import rich
from jax._src import distributed
from jax.experimental import multihost_utils

from svhn_jax import errors
from svhn_jax.errors import InputError, TryAgainError, one_line

Result = TypeVar("Result")
_SOUND, _PASSING, _FAILED = 0, 1, 2  # how a process fared: see `all_or_none`
JOIN_S = 300
HEARTBEAT_S = 60  # JAX ends all processes if one sends no heartbeat for so long
LOST = (
    "Gloo",
    "NCCL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "CANCELLED",
    "coordination",
    "Connection",
)


def join_processes(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> None:
    """Joins this process to the others of its run, if options or environment say so. Call before JAX is first used.

    Args:
      coordinator: HOST:PORT that process 0 listens on.
      count: number of processes; 1: join none, whatever the environment says.
      index: of this process, 0 to count - 1.
      All None: take them from SLURM, Open MPI, a TPU pod or an indexed Kubernetes Job (see
      jax.distributed.initialize).

    Raises:
      InputError: the arguments are incomplete or invalid, or JAX cannot ask Kubernetes for the other pods of an
        indexed Job.
      TryAgainError: the processes did not find one another.
    """
    if count == 1 or is_joined():
        return
    _check_place(coordinator, count, index)
    if coordinator is not None:
        text = (
            f"process {index} of {count}: waits up to {JOIN_S} s for the others, at {coordinator}"
        )
        rich.get_console().print(text, soft_wrap=True)
    pod = os.environ.get("JOB_COMPLETION_INDEX") if is_pod() else None
    if pod is None or not importlib.util.find_spec("kubernetes"):
        # In a pod that is alone JAX would fail, and without the package print a warning of five lines.
        os.environ.pop("KUBERNETES_SERVICE_HOST", None)
    # JAX would take SIGTERM here, and the process would not end until it asks JAX: see `take_sigterm`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            cluster_detection_method="deactivate" if coordinator else None,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            initialization_timeout=JOIN_S,
        )
    except RuntimeError as error:
        raise TryAgainError(
            f"the processes of this run did not find one another ({one_line(error)}); check that all are started and "
            "can reach the coordinator; --processes 1 trains on this machine alone"
        ) from None
    except Exception as error:
        finds_no_cluster = coordinator is None and "coordinator_address should be defined" in str(
            error
        )
        if finds_no_cluster and pod is None:
            return  # this process is alone
        if pod is not None and coordinator is None:
            reason = "the package kubernetes is missing" if finds_no_cluster else one_line(error)
            raise InputError(
                f"pod {pod} of an indexed Kubernetes Job cannot find the others ({reason}): pip install "
                "'svhn_jax[k8s]', or give --coordinator HOST:PORT --processes COUNT --process INDEX; "
                "--processes 1 trains in this pod alone"
            ) from None
        if not isinstance(error, ValueError):
            raise
        raise InputError(f"the processes of this run cannot be joined: {one_line(error)}") from None
    # From here on an orderly end would wait for the other processes.
    errors.leave_at_once(jax.process_count() > 1)


def _check_place(coordinator: str | None, count: int | None, index: int | None) -> None:
    given = (coordinator, count, index)
    if None in given and given != (None, None, None):
        raise InputError(
            "give all of --coordinator HOST:PORT, --processes COUNT and --process INDEX, or none of them"
        )
    if count is not None and index is not None and not 0 <= index < count:
        raise InputError(
            f"--process is {index}; it must be 0 to {count - 1}, --processes being {count}"
        )
    if coordinator is not None and (
        not re.fullmatch(r".+:\d{1,5}", coordinator)
        or not 0 < int(coordinator.rpartition(":")[2]) < 2**16
    ):
        raise InputError(
            f"--coordinator is {coordinator}; it must be HOST:PORT, with a port of 1 to 65535"
        )


def is_pod() -> bool:
    """Whether this process runs in a Kubernetes pod. Ask before `join_processes`, which may hide it."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def is_process_zero() -> bool:
    """Whether this process is the one that reports and writes the run's folder."""
    return jax.process_index() == 0


def all_or_none(work: Callable[[], Result]) -> Result:
    """Calls `work` on every process. If it fails on one, all raise: that one its error, the others an error naming it."""
    if jax.process_count() == 1:
        return work()
    failure: Exception | None = None
    try:
        result = work()
    except Exception as error:
        failure = error
    verdict = (
        _SOUND if failure is None else _PASSING if isinstance(failure, TryAgainError) else _FAILED
    )
    verdicts = _gather(np.array(verdict))
    if verdicts.any():
        # Let the others receive the verdict before this process ends. Process 0 ends last: JAX ends the others without it.
        time.sleep(3 if is_process_zero() else 1)
    if failure:
        raise failure
    if verdicts.any():
        kind = InputError if _FAILED in verdicts else TryAgainError
        raise kind(
            f"process {verdicts.argmax()} of this run could not go on; its own output says why"
        )
    return result


def on_process_zero(work: Callable[[], Result]) -> Result | None:
    """Calls `work` on process 0 and returns its result; None on the others. All raise if it fails."""
    return all_or_none(lambda: work() if is_process_zero() else None)


def check_same(text: str, what: str) -> None:
    """Raises InputError if `text` differs between processes; `what` names it in the message."""
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    digests = _gather(digest).reshape(-1, len(digest))
    differing = np.flatnonzero((digests != digests[0]).any(axis=1))
    if len(differing):
        raise InputError(
            f"process {differing[0]} has {what} other than process 0; start all with the same"
        )


def broadcast_from_zero(tree: Any) -> Any:
    """The arrays of process 0, on every process. The others pass arrays of the same shapes and types."""
    if jax.process_count() == 1:
        return tree
    # As bytes: JAX broadcasts by adding zeros, which turns -0.0 into 0.0.
    whole = jax.tree.map(lambda x: np.ascontiguousarray(x).reshape(-1).view(np.uint8), tree)
    sent = multihost_utils.broadcast_one_to_all(whole)
    return jax.tree.map(
        lambda x, like: np.asarray(x).view(like.dtype).reshape(like.shape), sent, tree
    )


def broadcast_text(text: str) -> str:
    """Process 0's text, on every process."""
    if jax.process_count() == 1:
        return text
    content = np.frombuffer(text.encode(), np.uint8)
    size = int(broadcast_from_zero(np.array(len(content))))
    return bytes(broadcast_from_zero(np.resize(content, size))).decode()


def is_true_on_all(what: bool) -> bool:
    """Whether `what` is true on every process."""
    return bool(np.all(_gather(np.array(what))))


def _gather(value: np.ndarray) -> np.ndarray:
    """The values of all processes, stacked by process."""
    with jax.transfer_guard("allow"):  # intended, though JAX counts it as implicit
        return np.asarray(multihost_utils.process_allgather(value))


def is_joined() -> bool:
    """Whether `join_processes` joined this process to a run of one or more."""
    return jax.distributed.is_initialized()


def take_sigterm() -> None:
    """Makes JAX handle SIGTERM, for `is_stop_agreed`: it no longer ends the process. Call once per process."""
    jax.config.update("jax_enable_preemption_service", True)
    distributed.global_state.initialize_preemption_sync_manager()


def is_stop_agreed(call: int) -> bool:
    """Whether any joined process received SIGTERM since `take_sigterm`; all get True at the same call.

    Args:
      call: increases by 1 with each call; JAX agrees on a future number, so none may be left out.
    """
    return is_joined() and multihost_utils.reached_preemption_sync_point(call)


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Turns the JAX errors of a lost process into one TryAgainError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not any(word in str(error) for word in LOST):
            raise
        raise TryAgainError(
            "another process of this run has stopped, or cannot be reached; its own output says why: start all of "
            f"them again with the same command, and they go on from the newest checkpoint ({one_line(error)})"
        ) from None
