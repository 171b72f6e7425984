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
from jax._src import distributed
from jax.experimental import multihost_utils

from svhn_jax import errors
from svhn_jax.errors import InputError, TryAgainError, one_line

Result = TypeVar("Result")
_SOUND, _PASSING, _FAILED = 0, 1, 2  # how a process fared: see `all_or_none`
JOIN_S = 300
HEARTBEAT_S = 60  # after so long without a word of a process, JAX ends the others
LOST = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED", "coordination", "Connection")


def join_processes(coordinator: str | None = None, count: int | None = None, index: int | None = None) -> None:
    """Makes this process one of many, before JAX is first used, where that is asked for or the environment says so.

    Args:
      coordinator: HOST:PORT that process 0 listens on.
      count: how many processes there are; 1 leaves this one alone whatever the environment says.
      index: of this process, 0 to count - 1.
      All of them None: as SLURM, Open MPI, a TPU pod or an indexed Job of Kubernetes started it (see
      jax.distributed.initialize).

    Raises:
      InputError: only some of the arguments are given, or they make no sense; or JAX cannot ask Kubernetes for the
        other pods of an indexed Job.
      TryAgainError: the processes did not find one another.
    """
    if count == 1 or is_joined():
        return
    _check_place(coordinator, count, index)
    if coordinator is not None:
        print(f"process {index} of {count}: waits up to {JOIN_S} s for the others, at {coordinator}", flush=True)
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
            f"the processes of this run did not find one another ({one_line(error)}); see that all are started, and "
            "can reach the coordinator; --processes 1 trains on this machine alone"
        ) from None
    except Exception as error:
        finds_no_cluster = coordinator is None and "coordinator_address should be defined" in str(error)
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
        raise InputError("give all of --coordinator HOST:PORT, --processes COUNT and --process INDEX, or none of them")
    if count is not None and index is not None and not 0 <= index < count:
        raise InputError(f"--process is {index}; it must be 0 to {count - 1}, --processes being {count}")
    if coordinator is not None and (
        not re.fullmatch(r".+:\d{1,5}", coordinator) or not 0 < int(coordinator.rpartition(":")[2]) < 2**16
    ):
        raise InputError(f"--coordinator is {coordinator}; it must be HOST:PORT, with a port of 1 to 65535")


def is_pod() -> bool:
    """Whether this process runs in a Kubernetes pod. Ask before `join_processes`, which may hide it."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def is_process_zero() -> bool:
    """Whether this is the process that reports, and touches the run's folder."""
    return jax.process_index() == 0


def all_or_none(work: Callable[[], Result]) -> Result:
    """Calls `work` on every process; where it fails on one, all stop: that one with its error, the others naming it."""
    if jax.process_count() == 1:
        return work()
    failure: Exception | None = None
    try:
        result = work()
    except Exception as error:
        failure = error
    verdict = _SOUND if failure is None else _PASSING if isinstance(failure, TryAgainError) else _FAILED
    verdicts = _gather(np.array(verdict))
    if verdicts.any():
        # The others must hear of it before a process leaves, and the main one leaves last: JAX ends them without it.
        time.sleep(3 if is_process_zero() else 1)
    if failure:
        raise failure
    if verdicts.any():
        kind = InputError if _FAILED in verdicts else TryAgainError
        raise kind(f"process {verdicts.argmax()} of this run could not go on; its own output says why")
    return result


def on_process_zero(work: Callable[[], Result]) -> Result | None:
    """Calls `work` on the main process alone; None on others, which stop where it fails."""
    return all_or_none(lambda: work() if is_process_zero() else None)


def check_same(text: str, what: str) -> None:
    """Raises InputError where the processes give different texts; `what` says of what."""
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    digests = _gather(digest).reshape(-1, len(digest))
    differing = np.flatnonzero((digests != digests[0]).any(axis=1))
    if len(differing):
        raise InputError(f"process {differing[0]} has {what} other than process 0; start all with the same")


def broadcast_from_zero(tree: Any) -> Any:
    """The main process's arrays, on every process. The others give arrays of the same shapes and types."""
    if jax.process_count() == 1:
        return tree
    # As bytes: the values themselves would be added to zeros, and -0.0 become 0.0.
    whole = jax.tree.map(lambda x: np.ascontiguousarray(x).reshape(-1).view(np.uint8), tree)
    sent = multihost_utils.broadcast_one_to_all(whole)
    return jax.tree.map(lambda x, like: np.asarray(x).view(like.dtype).reshape(like.shape), sent, tree)


def broadcast_text(text: str) -> str:
    """Process 0's text, on every process."""
    if jax.process_count() == 1:
        return text
    content = np.frombuffer(text.encode(), np.uint8)
    size = int(broadcast_from_zero(np.array(len(content))))
    return bytes(broadcast_from_zero(np.resize(content, size))).decode()


def is_true_on_all(what: bool) -> bool:
    """Whether it is so on every process."""
    return bool(np.all(_gather(np.array(what))))


def _gather(value: np.ndarray) -> np.ndarray:
    """What each process gives, in a row."""
    with jax.transfer_guard("allow"):  # this is meant, though JAX does not count it as explicit
        return np.asarray(multihost_utils.process_allgather(value))


def is_joined() -> bool:
    """Whether this process joined others, or was started as one of many and is the only one."""
    return jax.distributed.is_initialized()


def take_sigterm() -> None:
    """Has JAX listen for SIGTERM from here on, for `is_stop_agreed`; it then ends no process. Once in a process."""
    jax.config.update("jax_enable_preemption_service", True)
    distributed.global_state.initialize_preemption_sync_manager()


def is_stop_agreed(call: int) -> bool:
    """Whether any of the joined processes was told to end since `take_sigterm`; all hear of it at the same call.

    Args:
      call: 0, 1, 2 ...: JAX agrees on one of them that is still to come, so none may be left out.
    """
    return is_joined() and multihost_utils.reached_preemption_sync_point(call)


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Within the block, what happens when another process has gone is told in one line."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not any(word in str(error) for word in LOST):
            raise
        raise TryAgainError(
            "another process of this run has stopped, or cannot be reached; its own output says why: start all of "
            f"them again with the same command, and they go on from the newest checkpoint ({one_line(error)})"
        ) from None
