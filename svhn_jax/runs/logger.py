"""What a run says while it trains: lines, a progress bar, metrics.jsonl and TensorBoard events."""

import datetime
import os
import socket
import time
from typing import Any

import jax
import numpy as np
from etils import epath
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from svhn_jax.data.arrays import Split
from svhn_jax.data.pictures import contact_sheet
from svhn_jax.runs.folder import RunFolder

SAMPLE_IMAGES = 32


class EventFile:
    """A TensorBoard event file, written in the loop itself.

    tensorboardX's own SummaryWriter leaves that to a thread, which a full disk kills; the run then waits for it for ever.
    """

    def __init__(self, folder: str, first_step: int):
        """Starts a new file in `folder`; TensorBoard then hides events of older files after `first_step`."""
        epath.Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter(f"{folder}/{name}")
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=first_step + 1, session_log=start))

    def add(self, step: int, values: Any) -> None:
        """Adds a summary made by tensorboardX.summary."""
        self._write(Event(wall_time=time.time(), step=step, summary=values))

    def flush(self) -> None:
        """Puts what was added on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


class RunLogger:
    """Writes one run's progress; a context manager. Where `is_writer` is False it prints, and writes no file."""

    def __init__(
        self, run: RunFolder, console: Console, first_step: int, total_steps: int, batch_size: int, *, is_writer: bool
    ):
        self._run, self._console, self._batch_size, self._total_steps = run, console, batch_size, total_steps
        self._events: dict[str, EventFile] = {}
        if is_writer:
            run.truncate_metrics(first_step)
            # TensorBoard draws the same tag of two folders in one chart.
            for split in ("train", "validation"):
                self._events[split] = EventFile(f"{run.events_path}/{split}", first_step)
        self._bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps  {task.fields[rate]} images/s"),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("training", total=total_steps, completed=first_step, rate="-")
        self._first_step, self._busy_s, self._paused_s = first_step, 0.0, 0.0
        self._started = self._paused = 0.0
        self._last: tuple[int, float] = first_step, 0.0

    def __enter__(self) -> "RunLogger":
        self._bar.start()
        self._print("compiling the train step")
        self._started = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        for events in self._events.values():
            events.close()

    def pause(self) -> None:
        """Stops the clock of images/s: what follows is not training."""
        self._paused = time.perf_counter()
        self._busy_s += self._paused - self._started
        if not self._paused_s:
            self._print("compiling the evaluation step")

    def resume(self) -> None:
        """Starts it again."""
        self._started = time.perf_counter()
        self._paused_s += self._started - self._paused

    def advance(self, step: int) -> None:
        """Moves the bar to `step` completed updates."""
        busy_s = self._busy_s + time.perf_counter() - self._started
        rate = (step - self._first_step) * self._batch_size / max(busy_s, 1e-9)
        self._bar.update(self._task, completed=step, rate=f"{rate:,.0f}")

    def write_train(self, step: int, figures: dict[str, float], learning_rate: float) -> None:
        """A line, a row and scalars of the steps since the last call."""
        busy_s = self._busy_s + time.perf_counter() - self._started
        rate = (step - self._last[0]) * self._batch_size / max(busy_s - self._last[1], 1e-9)
        self._last = step, busy_s
        step_s = self._batch_size / rate + self._paused_s / (step - self._first_step)
        left = datetime.timedelta(seconds=round((self._total_steps - step) * step_s))
        self._print(
            f"Step: {step:5d}/{self._total_steps}, Loss: {figures['loss']:.5f}, "
            f"Seq Acc: {figures['sequence_accuracy']:.2f}, Dig Acc: {figures['digit_accuracy']:.2f}, "
            f"{rate:,.0f} images/s, {left} left"
        )
        self._write(step, "train", figures, {"learning_rate": learning_rate, "images_per_s": round(rate, 1)})

    def write_validation(
        self, step: int, figures: dict[str, float], split: Split, readings: np.ndarray, params: Any
    ) -> None:
        """A line, a row, scalars, sample images with their readings, and a histogram of every weight."""
        self._print(
            f"Step: {step:5d}/{self._total_steps}, validation: Loss: {figures['loss']:.5f}, "
            f"Seq Acc: {figures['sequence_accuracy']:.4f}, Dig Acc: {figures['digit_accuracy']:.4f}"
        )
        self._write(step, "validation", figures, {})
        events = self._events.get("validation")
        if not events:
            return
        sheet = contact_sheet(split.images[:SAMPLE_IMAGES], split.labels[:SAMPLE_IMAGES], readings[:SAMPLE_IMAGES])
        events.add(step, summary.image("readings", np.asarray(sheet), dataformats="HWC"))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            name = "/".join(str(key.key) for key in path)
            values = np.asarray(jax.device_get(leaf)).ravel()
            events.add(step, summary.histogram(f"params/{name}", values, bins="auto"))
        events.flush()

    def _print(self, text: str) -> None:
        now = time.strftime("%H:%M:%S")
        self._console.print(f"[{now}] {text}", markup=False, highlight=False, soft_wrap=True)

    def _write(self, step: int, split: str, figures: dict[str, float], of_training: dict[str, float]) -> None:
        """A row of metrics.jsonl, and curves; those of training alone apart from those that validation has too."""
        events = self._events.get(split)
        if not events:
            return
        self._run.add_metrics({"step": step, "split": split} | figures | of_training)
        curves = {f"metrics/{name}": value for name, value in figures.items() if name != "examples"}
        for tag, value in (curves | {f"training/{name}": value for name, value in of_training.items()}).items():
            events.add(step, summary.scalar(tag, value))
        events.flush()
