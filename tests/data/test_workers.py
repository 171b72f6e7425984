"""Work that processes share: its order, and a process that is killed."""

import os
import signal

import pytest

from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError

KILL = -1


def work(task):
    """10 x task and the process it was done in; slower for the first tasks."""
    if task == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    sum(range(200_000 // (task + 1)))
    return 10 * task, os.getpid()


@pytest.mark.parametrize("jobs", [0, 2])
def test_results_come_in_the_order_of_the_tasks(jobs):
    with Workers(jobs) as workers:
        results = list(workers.in_order(work, range(30)))
    assert [value for value, _ in results] == [10 * task for task in range(30)]
    assert (os.getpid() in {pid for _, pid in results}) == (jobs == 0)


def test_a_process_that_ends_is_an_error_that_names_the_file():
    with Workers(1) as workers, pytest.raises(InputError, match=r"^train\.tar\.gz: "):
        list(workers.in_order(work, [1, KILL, *range(100)], called="train.tar.gz"))


def test_only_a_few_tasks_are_taken_ahead_of_the_results():
    taken = []
    with Workers(2) as workers:
        results = workers.in_order(abs, (taken.append(task) or task for task in range(100)))
        assert next(results) == 0
        assert len(taken) <= 10
