"""Crops photos on all cores, straight into the images files of the data set being built."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from svhn_jax.data import crop, photos
from svhn_jax.data.records import Skipped
from svhn_jax.errors import UnfinishedError

PHOTOS_PER_TASK, BYTES_PER_TASK = 64, 2**21
TASKS_AHEAD = 4  # per process: enough to keep it busy, few enough to hold little in memory


class Target(NamedTuple):
    """Where a crop goes: an images file, and where in it the first row starts."""

    path: str
    offset: int


class Task(NamedTuple):
    """One photo to crop: its bytes, the number's box (None: the whole photo), and the row of a target it goes to."""

    content: bytes
    number: crop.Box | None
    target: Target
    row: int


Result = TypeVar("Result")
Outcome = tuple[int, int] | str
"""(width, height) of the photo whose crop was written, or why there is none."""


class Group(NamedTuple):
    """Photos that follow one another in their source: how many, the crops to make of them, and those without."""

    photos: int
    names: list[str]
    tasks: list[Task]
    skipped: list[Skipped]


Cropper = Callable[[Iterable[Group]], Iterator[tuple[Group, list[Outcome]]]]
"""Yields the groups, in their order, with the outcomes of their tasks, once the crops are written."""


def crop_tasks(tasks: Sequence[Task], *, margin: float, size: int) -> list[Outcome]:
    """Crops photos and writes each to its row."""
    files: dict[str, int] = {}
    outcomes: list[Outcome] = []
    try:
        for task in tasks:
            try:
                photo = photos.decode_photo(task.content)
                image = crop.crop_number(photo, task.number, margin=margin, size=size)
            except ValueError as error:
                outcomes.append(str(error))
                continue
            if task.target.path not in files:
                files[task.target.path] = os.open(task.target.path, os.O_WRONLY)
            _write_at(files[task.target.path], image.tobytes(), task.target.offset + task.row * image.size)
            outcomes.append(photo.size)
    finally:
        for file in files.values():
            os.close(file)
    return outcomes


def _write_at(file: int, content: bytes, offset: int) -> None:
    while content:  # a disk that fills up writes a part before it says so
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


@contextmanager
def cropper(*, margin: float, size: int, jobs: int) -> Iterator[Cropper]:
    """Crops in `jobs` processes; with one, in this one. The crops do not depend on it."""
    work = partial(crop_tasks, margin=margin, size=size)
    if jobs == 1:
        yield lambda groups: ((group, work(group.tasks)) for group in groups)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), follow_the_parent) as pool:
        try:
            yield lambda groups: _in_order(pool, work, groups, jobs * TASKS_AHEAD)
        except BrokenProcessPool:
            raise UnfinishedError(
                "a cropping process was killed, perhaps for want of memory; the same command goes on, with fewer --jobs"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def follow_the_parent() -> None:
    """For the start of a worker process: the parent handles interrupts, and the worker does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def submit(pool: ProcessPoolExecutor, work: Callable[[Any], Result], task: Any) -> "Future[Result]":
    """The first call starts the processes; Ctrl-C during that must find none that does not ignore it yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(work, task)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_the_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)  # killed, the parent could not say so, and a worker would wait for its next task for ever


def _in_order(
    pool: ProcessPoolExecutor,
    work: Callable[[Sequence[Task]], list[Outcome]],
    groups: Iterable[Group],
    ahead: int,
) -> Iterator[tuple[Group, list[Outcome]]]:
    waiting: deque[tuple[Group, Future[list[Outcome]]]] = deque()
    for group in groups:
        waiting.append((group, submit(pool, work, group.tasks)))
        if len(waiting) > ahead:
            first, outcomes = waiting.popleft()
            yield first, outcomes.result()
    for group, outcomes in waiting:
        yield group, outcomes.result()


def usable_cores() -> int:
    """Of the machine's cores, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_worth_starting(jobs: int, count: int) -> int:
    """Processes for `count` photos; starting one takes as long as cropping a thousand."""
    return max(1, min(jobs, count // 1000))
