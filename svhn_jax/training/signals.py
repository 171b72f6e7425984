"""Ctrl-C and SIGTERM: a train loop notes them and ends in its own time; elsewhere SIGTERM ends the command at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from svhn_jax.training import processes


def end_at_sigterm() -> None:
    """From here on SIGTERM ends the process at once, with one line and status 143, except within `noted`.

    The default action is not enough: the kernel ignores it in the first process of a container. Nor is a handler
    alone: Python calls it only when the main thread leaves XLA, where it may wait for another process. So a thread
    listens too, at the pipe to which Python writes the number of every signal.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    first = threading.Lock()  # never released: one line, whoever hears of the signal first

    def end(*_: Any) -> None:
        if first.acquire(blocking=False):
            os.write(2, b"error: ended by SIGTERM\n")
            os._exit(128 + signal.SIGTERM)

    def listen() -> None:
        while os.read(reading, 1)[0] != signal.SIGTERM:
            pass
        end()

    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=listen, daemon=True).start()


@contextmanager
def noted() -> Iterator[list[int]]:
    """Within the block SIGINT and SIGTERM are put in the list yielded; SIGINT after either interrupts at once.

    A second SIGTERM does not interrupt: a machine that shuts down sends it to every process, and
    launch/keep_going.sh hands its own on. One of many processes must not stop alone: there JAX takes SIGTERM
    (see `processes.is_stop_agreed`), and SIGINT becomes one.
    """
    received: list[int] = []
    seen: list[int] = []
    is_joined = processes.is_joined()

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt
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
