"""Many processes that train one run together, through jax.distributed."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from svhn_jax.errors import InputError, TryAgainError, one_line
from svhn_jax.output import Terminal

Result = TypeVar("Result")
JOIN_S = 300
HEARTBEAT_S = 60  # JAX ends all processes if one sends no heartbeat for this long
AGREE_EVERY_STEPS = 10  # steps between agreements to stop: each waits for the devices
FIRST_PORT, PORTS = 61440, 4096
# By JAX's name of a launcher: its own name, and its variables of count, index, job and job step.
LAUNCHERS = {
    "slurm": ("SLURM", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_ID"),
    "ompi": ("Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_MCA_orte_hnp_uri"),
}


@dataclass(frozen=True)
class Place:
    """Which of many processes this is; arguments: of `jax.distributed.initialize`."""

    launcher: str
    count: int
    index: int
    arguments: dict[str, Any]


def find_place(
    coordinator: str | None, count: int | None, index: int | None, run: str
) -> Place | None:
    """The place that the arguments or the environment give; None: this process is alone.

    Under SLURM and Open MPI, JAX finds the coordinator; the port is a function of job, job step and
    `run`, the run's folder, so that they never meet. A job of one task is alone.

    Args:
      coordinator, count, index: HOST:PORT of process 0, and as `Place`; all None: from SLURM or
        Open MPI. count 1: alone.

    Raises:
      InputError: the arguments are incomplete or invalid; or this is one of several pods that do
        not know of one another.
    """
    if count == 1:
        return None
    if coordinator and count is not None and index is not None and 0 <= index < count:
        arguments = {
            "coordinator_address": coordinator,
            "num_processes": count,
            "process_id": index,
            "cluster_detection_method": "deactivate",
        }
        return Place("by hand", count, index, arguments)
    if (coordinator, count, index) != (None, None, None) or "JOB_COMPLETION_INDEX" in os.environ:
        raise InputError(
            "to train with others, give all of --coordinator HOST:PORT, --processes COUNT and "
            "--process INDEX, from 0 to COUNT - 1; to train alone, --processes 1"
        )
    env = os.environ
    for method, (launcher, of_count, of_index, *of_job) in LAUNCHERS.items():
        if int(env.get(of_count) or 1) > 1 and of_index in env:
            parts = repr([env.get(name) for name in of_job] + [run])
            number = int(hashlib.sha256(parts.encode()).hexdigest()[:8], 16)
            env.setdefault("JAX_COORDINATOR_PORT", str(FIRST_PORT + number % PORTS))
            arguments = {"cluster_detection_method": method}
            return Place(launcher, int(env[of_count]), int(env[of_index]), arguments)
    return None


def join(place: Place | None, terminal: Terminal) -> None:
    """Joins this process to the others of its run. Call before JAX is first used.

    Args:
      place: see `find_place`; None: on a TPU JAX looks for the other hosts of a pod slice.

    Raises:
      TryAgainError: the processes did not find one another.
    """
    if place:
        terminal.print(
            f"process {place.index} of {place.count} ({place.launcher}): waits up to {JOIN_S} s "
            "for the others; --processes 1 trains alone"
        )
    elif find_spec("libtpu") and not jax.distributed.is_initialized():
        os.environ.pop("KUBERNETES_SERVICE_HOST", None)  # only the TPU's own hosts are looked for
    else:
        return
    # JAX would take SIGTERM, and the process would not end until the loop asks.
    jax.config.update("jax_enable_preemption_service", False)
    failures: list[str] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                **(place.arguments if place else {}),
                heartbeat_timeout_seconds=HEARTBEAT_S,
                initialization_timeout=2 * JOIN_S,  # JAX ends the process at its own limit
            )
        except Exception as error:
            failures.append(one_line(error))

    # In a thread, so that a signal interrupts the waiting.
    joining = threading.Thread(target=initialize, daemon=True)
    joining.start()
    joining.join(JOIN_S)
    if not place and failures and "coordinator_address should be defined" in failures[0]:
        return  # one host
    if failures or joining.is_alive():
        reason = f" ({failures[0]})" if failures else ""
        raise TryAgainError(
            f"the processes of this run did not find one another within {JOIN_S} s{reason}; "
            "check that all are started and reach process 0, or give --coordinator, --processes "
            "and --process; --processes 1 trains alone"
        )


def is_process_zero() -> bool:
    """Whether this process is the one that reports and writes the run's folder."""
    return jax.process_index() == 0


def all_or_none(work: Callable[[], Result]) -> Result:
    """Calls `work` on every process. If one fails, all raise: that one its own error."""
    if jax.process_count() == 1:
        return work()
    failure: Exception | None = None
    try:
        result = work()
    except Exception as error:
        failure = error
    verdicts = gather(np.array(failure is not None))
    if verdicts.any():
        # The others receive the verdict before this process ends. Process 0 ends last: JAX ends
        # the others without it.
        time.sleep(3 if is_process_zero() else 1)
        raise failure or InputError(
            f"process {verdicts.argmax()} of this run could not continue; its own output says why"
        )
    return result


def on_process_zero(work: Callable[[], Result]) -> Result | None:
    """The result of `work` on process 0, which alone calls it; None on the others. Or all raise."""
    return all_or_none(lambda: work() if is_process_zero() else None)


def broadcast_from_zero(tree: Any) -> Any:
    """The arrays of process 0, on all processes, which pass arrays of equal shapes and types."""
    if jax.process_count() == 1:
        return tree
    # As bytes: JAX broadcasts by adding zeros, which turns -0.0 into 0.0.
    whole = jax.tree.map(lambda x: np.ascontiguousarray(x).reshape(-1).view(np.uint8), tree)
    sent = multihost_utils.broadcast_one_to_all(whole)
    return jax.tree.map(
        lambda x, like: np.asarray(x).view(like.dtype).reshape(like.shape), sent, tree
    )


def require_same(text: str) -> None:
    """Raises InputError on every process if one of them has another text: settings and data."""
    mine = hashlib.sha256(text.encode()).digest()
    digests = gather(np.frombuffer(mine, np.uint8))
    if (digests != digests[0]).any():
        raise InputError(
            "the processes of this run have different configurations or data; start all with "
            "the same"
        )


def gather(value: np.ndarray) -> np.ndarray:
    """The values of all processes, stacked by process."""
    if jax.process_count() == 1:
        return value[None]
    with jax.transfer_guard("allow"):  # intended, though JAX counts it as implicit
        return np.asarray(multihost_utils.process_allgather(value))


@contextmanager
def stop_signals() -> Iterator[Callable[[int], int]]:
    """Notes SIGINT and SIGTERM, which then end nothing; Ctrl-C after either interrupts as before.

    Yields a function of the step: the number of the signal that stops the run, or 0. All
    processes must call it after each step; all get the same answer. A second SIGTERM changes
    nothing: a machine that shuts down sends it to every process, and launch/keep_going.sh
    forwards its own.
    """
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) > 1 and number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
            signal.raise_signal(signal.SIGINT)

    def stopped_by(step: int) -> int:
        first = received[0] if received else 0
        if jax.process_count() == 1:
            return first
        return int(gather(np.array(first)).max()) if step % AGREE_EVERY_STEPS == 0 else 0

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped_by
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Turns the JAX errors of a lost process into one TryAgainError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        raise TryAgainError(
            "another process of this run has stopped, or cannot be reached; its own output says "
            "why: start all again with the same command; they continue from the newest checkpoint "
            f"({one_line(error)})"
        ) from None
