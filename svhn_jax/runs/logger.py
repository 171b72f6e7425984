"""Reports a training run: printed lines, a progress bar, metrics.jsonl and TensorBoard events."""

import datetime
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from typing import Any

import jax
import jax.numpy as jnp

from svhn_jax.config import Config
from svhn_jax.model.settings import own_settings
from svhn_jax.output import Terminal
from svhn_jax.runs import tensorboard
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.tensorboard import EventFile

SHOWN = {"loss": "Loss", "sequence_accuracy": "Seq Acc", "digit_accuracy": "Dig Acc"}


class RunLogger:
    """Prints and writes the progress of a run; a context manager. Only a writer writes files.

    Files are written in one background thread, so that a slow disk or a bucket does not hold up the
    training. An error there is raised by a later call.
    """

    def __init__(
        self,
        run: RunFolder,
        terminal: Terminal,
        first_step: int,
        total_steps: int,
        config: Config,
        *,
        is_writer: bool,
    ):
        self._run, self._terminal = run, terminal
        self._batch_size, self._total_steps = config.batch_size, total_steps
        self._stack, self._tasks = ExitStack(), deque[Future[None]]()
        self._thread: ThreadPoolExecutor | None = None
        self._events: dict[str, EventFile] = {}
        if is_writer:
            run.truncate_metrics(first_step)
            tensorboard.describe(run.events_path, first_step, config)
            # TensorBoard draws the same tag of two folders in one chart.
            for split in ("train", "validation"):
                self._events[split] = EventFile(f"{run.events_path}/{split}", first_step)
            self._thread = ThreadPoolExecutor(1, "logger")
        self._first_step, self._shown_step = first_step, first_step
        self._began = self._last_time = self._paused = 0.0  # seconds of time.perf_counter
        self._last_step = first_step

    def __enter__(self) -> "RunLogger":
        title = f"training from step {self._first_step}"
        left = self._total_steps - self._first_step
        self._bar = self._stack.enter_context(self._terminal.progress(title, left, "steps"))
        self._print("compiling the train step")
        self._began = self._last_time = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._stack.close()
        try:
            with suppress(Exception) if kind else nullcontext():  # the first error is reported
                self._later(self._run.flush_metrics)
                self._wait()
        finally:
            if self._thread:
                self._thread.shutdown()
            for events in self._events.values():
                events.close()

    def pause(self) -> None:
        """Stops the images/s clock, for work that is not training."""
        self._paused = time.perf_counter()

    def resume(self) -> None:
        """Restarts the images/s clock."""
        self._last_time += time.perf_counter() - self._paused

    def advance(self, step: int) -> None:
        """Moves the bar to `step` completed updates."""
        self._bar(step - self._shown_step)
        self._shown_step = step

    def write_train(self, step: int, metrics: dict[str, float], learning_rate: float) -> None:
        """Writes a line, a row and scalars of the steps since the last call."""
        now = time.perf_counter()
        images = (step - self._last_step) * self._batch_size
        rate = images / max(now - self._last_time, 1e-9)
        self._last_step, self._last_time = step, now
        step_s = (now - self._began) / (step - self._first_step)
        left = datetime.timedelta(seconds=round((self._total_steps - step) * step_s))
        self._print_metrics(step, metrics, "", f", {rate:,.0f} images/s, {left} left")
        of_training = {"learning_rate": learning_rate, "images_per_s": round(rate, 1)}
        self._later(self._write, step, "train", metrics, of_training)

    def write_validation(
        self, step: int, metrics: dict[str, float], draw: Callable[[], Any], params: Any
    ) -> None:
        """Writes a line, a row, scalars, a picture and a histogram of every weight.

        draw: gives the picture of sample predictions; called in the background thread.
        """
        self._print_metrics(step, metrics, "validation: ", "")
        if self._thread:
            self._wait()  # one copy of the weights at a time
            # A copy, because the next train step donates the state.
            copied = jax.tree.map(lambda x: jnp.copy(x.addressable_data(0)), params)
            self._later(self._write, step, "validation", metrics, {})
            self._later(self._draw, step, draw, copied)
            self._later(self._run.flush_metrics)

    def _print(self, text: str) -> None:
        self._terminal.print(f"[{time.strftime('%H:%M:%S')}] {text}")

    def _print_metrics(self, step: int, metrics: dict[str, float], split: str, rest: str) -> None:
        """Accuracies have two decimals for batches, which are small, and four for a split."""
        digits = {"loss": 5}
        shown = ", ".join(
            f"{words}: {metrics[name]:.{digits.get(name, 4 if split else 2)}f}"
            for name, words in SHOWN.items()
            if name in metrics
        )
        self._print(f"Step: {step:5d}/{self._total_steps}, {split}{shown}{rest}")

    def _later(self, task: Callable[..., None], *arguments: Any) -> None:
        """Runs a task in the background, after those before it; raises an error of theirs."""
        if self._thread:
            while self._tasks and self._tasks[0].done():
                self._tasks.popleft().result()
            self._tasks.append(self._thread.submit(task, *arguments))

    def _wait(self) -> None:
        while self._tasks:
            self._tasks.popleft().result()

    def _write(
        self, step: int, split: str, metrics: dict[str, float], of_training: dict[str, float]
    ) -> None:
        """Writes a row of metrics.jsonl, and curves; those of training only have charts apart."""
        self._run.add_metrics({"step": step, "split": split} | metrics | of_training)
        curves = {f"metrics/{name}": value for name, value in metrics.items() if name != "examples"}
        curves |= {f"training/{name}": value for name, value in of_training.items()}
        self._events[split].add(step, *tensorboard.scalars(curves))
        if not self._run.is_remote:  # there, each flush would send the whole file
            self._events[split].flush()

    @own_settings()
    def _draw(self, step: int, draw: Callable[[], Any], params: Any) -> None:
        events = self._events["validation"]
        events.add(step, tensorboard.picture("readings", draw()), *tensorboard.histograms(params))
        events.flush()
