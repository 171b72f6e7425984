"""Lets the train loop save before Ctrl-C or SIGTERM ends it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from svhn_jax.training import processes


@contextmanager
def noted() -> Iterator[list[int]]:
    """Appends SIGINT and SIGTERM to the yielded list; a SIGINT after either acts as it did before the block.

    A second SIGTERM does not interrupt: a machine that shuts down sends it to every process, and
    launch/keep_going.sh forwards the one it received. Joined processes must stop at the same step: JAX handles their
    SIGTERM (see `processes.is_stop_agreed`), and SIGINT is turned into SIGTERM.
    """
    received: list[int] = []
    seen: list[int] = []
    is_joined = processes.is_joined()

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) > 1 and number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
            signal.raise_signal(signal.SIGINT)
        if is_joined:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            received.append(number)

    wakeup = signal.set_wakeup_fd(-1)
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    if is_joined:
        processes.take_sigterm()
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
