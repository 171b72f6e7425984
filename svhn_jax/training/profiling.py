"""A trace of a few steps, taken by jax.profiler."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from svhn_jax.training import processes

FIRST, COUNT = 10, 10  # steps skipped, because the first ones compile; steps recorded


class Profiler:
    """Records COUNT steps to `folder`, after skipping FIRST steps; records nothing if `folder` is None."""

    def __init__(self, folder: str | None, first_step: int):
        self._folder, self._start, self._end = folder, first_step + FIRST, 0
        self.is_running = self.has_begun = False

    def at(self, step: int, state: Any) -> None:
        """Starts or ends the recording; call it after each step is dispatched."""
        if self.is_running and step >= self._end:
            jax.block_until_ready(state)
            self.stop()
        elif self._folder and step >= self._start and not self.has_begun:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # tracing Python calls takes 100 MB, and 20 s to write
            jax.profiler.start_trace(
                self._folder, create_perfetto_trace=True, profiler_options=options
            )
            self._end, self.is_running, self.has_begun = step + COUNT, True, True

    def drop(self) -> None:
        """Discards the recording: writing it would delay a run that was told to stop."""
        self.is_running = self.has_begun = False

    def outcome(self) -> str:
        """Where the trace is, or why there is none."""
        return f"in {self._folder}" if self.has_begun else f"none: it takes more than {FIRST} steps"

    def stop(self) -> None:
        """Ends the recording, and writes it."""
        self.is_running = False
        jax.profiler.stop_trace()


@contextmanager
def few_steps(folder: str | None, first_step: int) -> Iterator[Profiler]:
    """A Profiler for this block, on process 0. If the block ends early, the steps so far are written."""
    profiler = Profiler(folder if processes.is_process_zero() else None, first_step)
    try:
        yield profiler
    finally:
        if profiler.is_running:
            profiler.stop()
