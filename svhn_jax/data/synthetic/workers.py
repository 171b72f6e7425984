"""Work that several processes share, with its results in order."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from svhn_jax.data.prepare.pool import follow_the_parent, submit
from svhn_jax.errors import InputError

TASKS_AHEAD = 4  # per process: enough to keep it busy, few enough to hold little in memory
T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """So many processes, started at their first task; with one, this process works itself."""

    def __init__(self, jobs: int):
        self._ahead = jobs * TASKS_AHEAD
        self._pool = None
        if jobs > 1:
            self._pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), follow_the_parent)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def in_order(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """The results of the tasks, in their order, whichever process ends first.

        Raises:
          InputError: a process was killed.
        """
        if not self._pool:
            yield from map(work, tasks)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for task in tasks:
                waiting.append(submit(self._pool, work, task))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                "a rendering process was killed, perhaps for want of memory; run it again, with fewer --jobs"
            ) from None
