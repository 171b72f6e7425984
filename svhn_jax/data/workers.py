"""Worker processes that share work; results come in the order of the tasks."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from svhn_jax.errors import InputError

TASKS_AHEAD = 4  # per process: enough to keep it busy, few enough to bound the memory
T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A pool of processes, each started when it is first needed.

        with Workers(usable_cores()) as workers:
            sizes = list(workers.in_order(os.path.getsize, paths))

    A C library that crashes on a damaged file ends a worker, not the command. With 0 jobs this
    process works. After an error or a signal the workers are killed.
    """

    def __init__(self, jobs: int):
        self._ahead = jobs * TASKS_AHEAD
        self._others = {*multiprocessing.active_children()}
        # Not forked: a fork copies locks that other threads hold. A fork server needs a socket,
        # whose path a long TMPDIR makes too long.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(jobs, context, _follow_the_parent) if jobs else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            for process in {*multiprocessing.active_children()} - self._others:
                process.kill()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def in_order(
        self, work: Callable[[T], R], tasks: Iterable[T], *, called: str = "the work"
    ) -> Iterator[R]:
        """Yields the results of the tasks in the order of the tasks.

        called: the file that the tasks read, for the error message.

        Raises:
          InputError: a process crashed or was killed.
        """
        if not self._pool:
            yield from map(work, tasks)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for task in tasks:
                with _signals_held():
                    waiting.append(self._pool.submit(work, task))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                f"{called}: a worker process crashed on it, or was killed for lack of memory; "
                "check the file, or give fewer --jobs"
            ) from None


def usable_cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _signals_held() -> Iterator[None]:
    """Blocks signals while a process may start, which inherits that: the parent handles Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_the_parent() -> None:
    """Ends this worker when its parent ends: one that waits for tasks would wait forever."""

    def end() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()
