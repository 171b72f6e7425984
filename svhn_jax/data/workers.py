"""Worker processes that share the work on photos; results come in the order of the tasks."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from svhn_jax.errors import UnfinishedError

TASKS_AHEAD = 4  # per process: enough to keep it busy, few enough to bound the memory
T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A pool of processes, started at the first task. With one job, the work is done in this process.

    with Workers(usable_cores()) as workers:
        sizes = list(workers.in_order(os.path.getsize, paths))
    """

    def __init__(self, jobs: int):
        self._ahead = jobs * TASKS_AHEAD
        self._pool = None
        if jobs > 1:  # spawn: a fork would copy locks that other threads hold
            self._pool = ProcessPoolExecutor(
                jobs, multiprocessing.get_context("spawn"), _follow_the_parent
            )

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def in_order(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Yields the results of the tasks in the order of the tasks, whichever process finishes first.

        Raises:
          UnfinishedError: a process was killed.
        """
        if not self._pool:
            yield from map(work, tasks)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for task in tasks:
                waiting.append(_submit(self._pool, work, task))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise UnfinishedError(
                "a worker process was killed, perhaps for lack of memory; run the same command again, with fewer --jobs"
            ) from None


def usable_cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _submit(pool: ProcessPoolExecutor, work: Callable[[T], R], task: T) -> "Future[R]":
    """Submits a task. The first call starts the processes: block Ctrl-C until each of them ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(work, task)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_the_parent() -> None:
    """Runs at the start of each worker: the parent handles Ctrl-C, and the worker ends when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(
            1
        )  # a parent that was killed cannot stop its workers, and they would wait for tasks forever
