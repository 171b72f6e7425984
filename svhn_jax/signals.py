"""Ctrl-C and SIGTERM, noted for a loop that ends in its own time."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from svhn_jax import parallel


@contextmanager
def noted() -> Iterator[list[int]]:
    """Within the block SIGINT and SIGTERM are put in the list yielded; a second one interrupts at once.

    One of many processes must not stop alone: there JAX takes SIGTERM (see `parallel.is_stop_agreed`), and SIGINT
    becomes one.
    """
    received: list[int] = []
    seen: list[int] = []
    is_joined = parallel.takes_sigterm()

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) > 1:
            raise KeyboardInterrupt
        if is_joined:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            received.append(number)

    taken = (signal.SIGINT,) if is_joined else (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in taken}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
