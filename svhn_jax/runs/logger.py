"""Reports a training run: printed lines, a progress bar, metrics.jsonl and TensorBoard events."""

import datetime
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import summary

from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.runs import tensorboard
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.tensorboard import Drawings, EventFile


class RunLogger:
    """Prints and writes the progress of a run; a context manager. Without `is_writer` it writes no file."""

    def __init__(
        self,
        run: RunFolder,
        console: Console,
        first_step: int,
        total_steps: int,
        config: Config,
        *,
        is_writer: bool,
    ):
        self._run, self._console, self._batch_size, self._total_steps = (
            run,
            console,
            config.batch_size,
            total_steps,
        )
        self._events: dict[str, EventFile] = {}
        self._drawings: Drawings | None = None
        if is_writer:
            run.truncate_metrics(first_step)
            tensorboard.describe(run.events_path, first_step, config)
            # TensorBoard draws the same tag of two folders in one chart.
            for split in ("train", "validation"):
                self._events[split] = EventFile(f"{run.events_path}/{split}", first_step)
            self._drawings = Drawings(self._events["validation"])
        self._bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps  {task.fields[rate]} images/s"),
            TimeRemainingColumn(), console=console, disable=console.quiet or not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(
            "training", total=total_steps, completed=first_step, rate="-"
        )
        self._first_step, self._busy_s, self._paused_s = first_step, 0.0, 0.0
        self._started = self._paused = 0.0
        self._last: tuple[int, float] = first_step, 0.0

    def __enter__(self) -> "RunLogger":
        self._bar.start()
        self._print("compiling the train step")
        self._started = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._bar.stop()
        try:
            if self._drawings:
                self._drawings.close(is_failing=kind is not None)
        finally:
            for events in self._events.values():
                events.close()

    def pause(self) -> None:
        """Stops the images/s clock, for work that is not training."""
        self._paused = time.perf_counter()
        self._busy_s += self._paused - self._started
        if not self._paused_s:
            self._print("compiling the evaluation step")

    def resume(self) -> None:
        """Restarts the images/s clock."""
        self._started = time.perf_counter()
        self._paused_s += self._started - self._paused

    def advance(self, step: int) -> None:
        """Moves the bar to `step` completed updates."""
        busy_s = self._busy_s + time.perf_counter() - self._started
        rate = (step - self._first_step) * self._batch_size / max(busy_s, 1e-9)
        self._bar.update(self._task, completed=step, rate=f"{rate:,.0f}")

    def write_train(self, step: int, metrics: dict[str, float], learning_rate: float) -> None:
        """Writes a line, a row and scalars of the steps since the last call."""
        busy_s = self._busy_s + time.perf_counter() - self._started
        rate = (step - self._last[0]) * self._batch_size / max(busy_s - self._last[1], 1e-9)
        self._last = step, busy_s
        step_s = self._batch_size / rate + self._paused_s / (step - self._first_step)
        left = datetime.timedelta(seconds=round((self._total_steps - step) * step_s))
        self._print(
            f"Step: {step:5d}/{self._total_steps}, Loss: {metrics['loss']:.5f}, "
            f"Seq Acc: {metrics['sequence_accuracy']:.2f}, Dig Acc: {metrics['digit_accuracy']:.2f}, "
            f"{rate:,.0f} images/s, {left} left"
        )
        if self._drawings:
            self._drawings.raise_if_failed()
        self._write(
            step, "train", metrics, {"learning_rate": learning_rate, "images_per_s": round(rate, 1)}
        )

    def write_validation(
        self, step: int, metrics: dict[str, float], split: Split, predicted: np.ndarray, params: Any
    ) -> None:
        """Writes a line, a row and scalars; draws sample images with the predicted numbers, and a histogram of every weight.

        predicted: int32[N, 1 + D], the labels predicted for the images of `split`.
        """
        self._print(
            f"Step: {step:5d}/{self._total_steps}, validation: Loss: {metrics['loss']:.5f}, "
            f"Seq Acc: {metrics['sequence_accuracy']:.4f}, Dig Acc: {metrics['digit_accuracy']:.4f}"
        )
        if self._drawings:
            self._drawings.wait()  # it writes to the same file
        self._write(step, "validation", metrics, {})
        if self._drawings:
            self._drawings.add(step, split, predicted, params)

    def _print(self, text: str) -> None:
        now = time.strftime("%H:%M:%S")
        self._console.print(f"[{now}] {text}", markup=False, highlight=False, soft_wrap=True)

    def _write(
        self, step: int, split: str, metrics: dict[str, float], of_training: dict[str, float]
    ) -> None:
        """Writes a row of metrics.jsonl, and curves; metrics that only training has get a chart group of their own."""
        events = self._events.get(split)
        if not events:
            return
        self._run.add_metrics({"step": step, "split": split} | metrics | of_training)
        curves = {f"metrics/{name}": value for name, value in metrics.items() if name != "examples"}
        for tag, value in (
            curves | {f"training/{name}": value for name, value in of_training.items()}
        ).items():
            events.add(step, summary.scalar(tag, value))
        events.flush()
