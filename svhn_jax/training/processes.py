"""Many processes that train one run together, through jax.distributed."""

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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
# Words in JAX's errors of a lost process.
LOST = [
    "Gloo",
    "NCCL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "CANCELLED",
    "coordination",
    "Connection",
]


@dataclass(frozen=True)
class Place:
    """Which of many processes this is.

    coordinator: HOST:PORT of process 0. devices: the local devices it uses; None: all.
    """

    launcher: str
    coordinator: str
    count: int
    index: int
    devices: list[int] | None = None


def find_place(
    coordinator: str | None, count: int | None, index: int | None, run: str
) -> Place | None:
    """The place that the arguments or the environment give; None: this process is alone.

    Args:
      coordinator, count, index: as `Place`; all None: from SLURM or Open MPI. count 1: alone.
      run: the run's folder; runs of one job use different ports.

    Raises:
      InputError: the arguments are incomplete or invalid; or this is one of several pods that do
        not know of one another.
    """
    given = (coordinator, count, index)
    if count == 1:
        return None
    if coordinator is not None and count is not None and index is not None:
        if not 0 <= index < count:
            raise InputError(f"--process is {index}; it must be 0 to {count - 1}")
        if not re.fullmatch(r".+:\d{1,5}", coordinator):
            raise InputError(f"--coordinator is {coordinator}; it must be HOST:PORT")
        return Place("by hand", coordinator, count, index)
    if given != (None, None, None):
        raise InputError(
            "give all of --coordinator HOST:PORT, --processes COUNT and --process INDEX, or none"
        )
    if "JOB_COMPLETION_INDEX" in os.environ:
        raise InputError(
            "this is a pod of an indexed Kubernetes Job; give --coordinator HOST:PORT, --processes "
            "COUNT and --process INDEX, or --processes 1 to train in this pod alone"
        )
    return _slurm(os.environ, run) or _open_mpi(os.environ, run)


def _slurm(env: Mapping[str, str], run: str) -> Place | None:
    count = int(env.get("SLURM_NTASKS") or 1)
    if count < 2 or "SLURM_PROCID" not in env:
        return None
    # The first of node7, node7,other, node[7-9,12] or node[7,9].
    found = re.match(r"([^,\[]+)(?:\[(\w+))?", env.get("SLURM_STEP_NODELIST") or "localhost")
    host = "".join(part or "" for part in found.groups()) if found else "localhost"
    port = _port(env, env.get("SLURM_JOB_ID"), env.get("SLURM_STEP_ID"), run)
    local = _numbers(env.get("SLURM_LOCALID"))
    return Place("SLURM", f"{host}:{port}", count, int(env["SLURM_PROCID"]), local)


def _open_mpi(env: Mapping[str, str], run: str) -> Place | None:
    count = int(env.get("OMPI_COMM_WORLD_SIZE") or 1)
    if count < 2 or "OMPI_COMM_WORLD_RANK" not in env:
        return None
    # Such as 1531576320.0;tcp://10.96.0.1,10.148.0.1:34911 or 13145.0;tcp6://[fe80::b9b,2620::2]:4
    uri = env.get("OMPI_MCA_orte_hnp_uri") or ""
    found = re.search(r"tcp://([^,:]+)|tcp6://(\[[^,\]]+)", uri)
    host = (found[1] or f"{found[2]}]") if found else "localhost"
    local = _numbers(env.get("OMPI_COMM_WORLD_LOCAL_RANK"))
    index = int(env["OMPI_COMM_WORLD_RANK"])
    return Place("Open MPI", f"{host}:{_port(env, uri, run)}", count, index, local)


def _numbers(text: str | None) -> list[int] | None:
    return None if text is None else [int(text)]


def _port(env: Mapping[str, str], *parts: str | None) -> str:
    """The port of a run: two runs of one job, and two job steps, have different ones."""
    number = int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16)
    return env.get("JAX_COORDINATOR_PORT") or str(FIRST_PORT + number % PORTS)


def join(place: Place | None, terminal: Terminal) -> None:
    """Joins this process to the others of its run. Call before JAX is first used.

    Args:
      place: see `find_place`; None: on a TPU JAX looks for the other hosts of a pod slice.

    Raises:
      TryAgainError: the processes did not find one another.
    """
    if place:
        where = f" at {place.coordinator}"
        terminal.print(
            f"process {place.index} of {place.count} ({place.launcher}): waits up to {JOIN_S} s "
            f"for the others{where}; --processes 1 trains alone"
        )
        arguments: dict[str, Any] = {
            "coordinator_address": place.coordinator,
            "num_processes": place.count,
            "process_id": place.index,
            "local_device_ids": place.devices,
            "cluster_detection_method": "deactivate",
        }
    elif find_spec("libtpu") and not jax.distributed.is_initialized():
        os.environ.pop("KUBERNETES_SERVICE_HOST", None)  # only the TPU's own hosts are looked for
        where, arguments = " of this TPU", {}
    else:
        return
    # JAX would take SIGTERM, and the process would not end until the loop asks.
    jax.config.update("jax_enable_preemption_service", False)
    failures: list[Exception] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                **arguments,
                heartbeat_timeout_seconds=HEARTBEAT_S,
                initialization_timeout=2 * JOIN_S,  # JAX ends the process at its own limit
            )
        except Exception as error:
            failures.append(error)

    # In a thread, so that a signal interrupts the waiting.
    joining = threading.Thread(target=initialize, daemon=True)
    joining.start()
    joining.join(JOIN_S)
    if not place and failures and "coordinator_address should be defined" in str(failures[0]):
        return  # one host
    if failures or joining.is_alive():
        reason = f" ({one_line(failures[0])})" if failures else ""
        raise TryAgainError(
            f"the processes of this run did not find one another{where} within {JOIN_S} s{reason}; "
            "check that all are started and reach that address; --processes 1 trains alone"
        )


def leave() -> None:
    """Ends the joint work; waits for the other processes."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


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


def broadcast_text(text: str) -> str:
    """Process 0's text, on every process."""
    content = np.frombuffer(text.encode(), np.uint8)
    size = int(broadcast_from_zero(np.array(len(content))))
    return bytes(broadcast_from_zero(np.resize(content, size))).decode()


def gather(value: np.ndarray) -> np.ndarray:
    """The values of all processes, stacked by process."""
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
        if jax.process_count() == 1 or not any(word in str(error) for word in LOST):
            raise
        raise TryAgainError(
            "another process of this run has stopped, or cannot be reached; its own output says "
            "why: start all again with the same command; they continue from the newest checkpoint "
            f"({one_line(error)})"
        ) from None
