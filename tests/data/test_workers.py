"""Work that processes share: its order, and what becomes of a process that is killed."""

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


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks_and_a_killed_process_is_one_line(jobs):
    with Workers(jobs) as workers:
        results = list(workers.in_order(work, range(30)))
        assert [value for value, _ in results] == [10 * task for task in range(30)]
        pids = {pid for _, pid in results}
        if jobs == 1:
            assert pids == {os.getpid()}
            return
        assert os.getpid() not in pids
        with pytest.raises(
            InputError, match=r"process was killed, perhaps for lack of memory; .*fewer --jobs"
        ) as caught:
            list(workers.in_order(work, [1, 2, KILL, *range(100)]))
        assert "\n" not in str(caught.value)


def test_only_a_few_tasks_are_taken_ahead_of_the_results():
    taken = []

    def tasks():
        for task in range(100):
            taken.append(task)
            yield task

    with Workers(2) as workers:
        results = workers.in_order(abs, tasks())
        assert next(results) == 0
        assert len(taken) <= 10
