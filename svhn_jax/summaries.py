"""What a run says while it trains: lines, a progress bar, metrics.jsonl and TensorBoard events."""

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
from svhn_jax.report import contact_sheet
from svhn_jax.run_folder import RunFolder

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
        """Ends the file."""
        self._writer.close()

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


class Summaries:
    """Writes one run's progress; a context manager. Where `is_writer` is False it prints, and writes no file."""

    def __init__(
        self, run: RunFolder, console: Console, first_step: int, total_steps: int, batch_size: int, *, is_writer: bool
    ):
        self._run, self._console, self._batch_size = run, console, batch_size
        self._events: EventFile | None = None
        if is_writer:
            run.forget_after(first_step)
            self._events = EventFile(run.events_path, first_step)
        self._bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps  {task.fields[rate]} images/s"),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("training", total=total_steps, completed=first_step, rate="-")
        self._first_step, self._busy_s, self._started = first_step, 0.0, 0.0
        self._last: tuple[int, float] = first_step, 0.0

    def __enter__(self) -> "Summaries":
        self._bar.start()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        if self._events:
            self._events.close()

    def pause(self) -> None:
        """Stops the clock of images/s: what follows is not training."""
        self._busy_s += time.perf_counter() - self._started

    def resume(self) -> None:
        """Starts it again."""
        self._started = time.perf_counter()

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
        self._console.print(
            f"[{time.strftime('%H:%M:%S')}] Step: {step:5d}, Loss: {figures['loss']:.5f}, "
            f"Seq Acc: {figures['sequence_accuracy']:.2f}, Dig Acc: {figures['digit_accuracy']:.2f}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        self._write(step, "train", figures | {"learning_rate": learning_rate, "images_per_s": round(rate, 1)})

    def write_validation(
        self, step: int, figures: dict[str, float], split: Split, readings: np.ndarray, params: Any
    ) -> None:
        """A line, a row, scalars, sample images with their readings, and a histogram of every weight."""
        self._console.print(
            f"[{time.strftime('%H:%M:%S')}] Step: {step:5d}, validation: Loss: {figures['loss']:.5f}, "
            f"Seq Acc: {figures['sequence_accuracy']:.4f}, Dig Acc: {figures['digit_accuracy']:.4f}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        self._write(step, "validation", figures)
        if not self._events:
            return
        sheet = contact_sheet(split.images[:SAMPLE_IMAGES], split.labels[:SAMPLE_IMAGES], readings[:SAMPLE_IMAGES])
        self._events.add(step, summary.image("validation/readings", np.asarray(sheet), dataformats="HWC"))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            name = "/".join(str(key.key) for key in path)
            values = np.asarray(jax.device_get(leaf)).ravel()
            self._events.add(step, summary.histogram(f"params/{name}", values, bins="auto"))
        self._events.flush()

    def _write(self, step: int, split: str, figures: dict[str, float]) -> None:
        if not self._events:
            return
        self._run.add_metrics({"step": step, "split": split} | figures)
        for name, value in figures.items():
            self._events.add(step, summary.scalar(f"{split}/{name}", value))
        self._events.flush()
