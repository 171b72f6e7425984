"""A trace of a few steps, taken by jax.profiler."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from svhn_jax import parallel

FIRST, LAST = 10, 20  # steps since the start of this process; the first few compile


class Profiler:
    """Records steps FIRST to LAST after `first_step` in `folder`; nothing where that is None."""

    def __init__(self, folder: str | None, first_step: int):
        self._folder, self._first_step, self.is_running = folder, first_step, False

    def at(self, step: int, state: Any) -> None:
        """To be called after each dispatch, with the step it led to and what it gave."""
        since = step - self._first_step
        if self._folder and FIRST <= since < LAST and not self.is_running:
            jax.block_until_ready(state)
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self.is_running = True
        elif self.is_running and since >= LAST:
            jax.block_until_ready(state)
            self.stop()

    def stop(self) -> None:
        """Ends the recording, and writes it."""
        self._folder, self.is_running = None, False
        jax.profiler.stop_trace()


@contextmanager
def few_steps(folder: str | None, first_step: int) -> Iterator[Profiler]:
    """A Profiler of this block, on the main process; a run that ends before its last step is recorded as far as it went."""
    profiler = Profiler(folder if parallel.is_main() else None, first_step)
    try:
        yield profiler
    finally:
        if profiler.is_running:
            profiler.stop()
