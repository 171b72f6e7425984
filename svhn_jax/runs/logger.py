"""Reports a training run: printed lines, a progress bar, metrics.jsonl and TensorBoard events."""

import datetime
import os
import socket
import time
from contextlib import ExitStack, nullcontext, suppress
from typing import Any

from etils import epath
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from svhn_jax.config import Config
from svhn_jax.output import Terminal
from svhn_jax.runs.folder import RunFolder

SHOWN = {"loss": "Loss", "sequence_accuracy": "Seq Acc", "digit_accuracy": "Dig Acc"}


class RunLogger:
    """Prints and writes the progress of a run; a context manager. Only a writer writes files.

    In a bucket, metrics.jsonl and events are written at validations and at the end only.
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
        self._run, self._terminal, self._stack = run, terminal, ExitStack()
        self._batch_size, self._total_steps = config.batch_size, total_steps
        self._events: dict[str, EventFile] = {}
        if is_writer:
            run.truncate_metrics(first_step)
            # TensorBoard draws the same tag of two folders in one chart.
            for split in ("train", "validation"):
                self._events[split] = EventFile(f"{run.path}/events/{split}", first_step)
        self._first_step = self._shown_step = self._last_step = first_step

    def __enter__(self) -> "RunLogger":
        title = f"training from step {self._first_step}"
        left = self._total_steps - self._first_step
        self._bar = self._stack.enter_context(self._terminal.progress(title, left, "steps"))
        self._print("compiling the train step")
        self._began = self._last_time = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._stack.close()
        with suppress(Exception) if kind else nullcontext():  # the first error is reported
            self._flush()
            for events in self._events.values():
                events.close()

    def advance(self, step: int) -> None:
        """Moves the bar to `step` completed updates."""
        self._bar(step - self._shown_step)
        self._shown_step = step

    def write_train(self, step: int, metrics: dict[str, float], learning_rate: float) -> None:
        """Writes a line, a row and scalars of the steps since the last call.

        The images/s are those since the last call or validation.
        """
        now = time.perf_counter()
        rate = (step - self._last_step) * self._batch_size / max(now - self._last_time, 1e-9)
        self._last_step, self._last_time = step, now
        step_s = (now - self._began) / (step - self._first_step)
        left = datetime.timedelta(seconds=round((self._total_steps - step) * step_s))
        self._print_metrics(step, metrics, "", f", {rate:,.0f} images/s, {left} left")
        of_training = {"learning_rate": learning_rate, "images_per_s": round(rate, 1)}
        self._write(step, "train", metrics, of_training)

    def write_validation(self, step: int, metrics: dict[str, float]) -> None:
        """Writes a line, a row and scalars."""
        self._print_metrics(step, metrics, "validation: ", "")
        self._write(step, "validation", metrics, {})
        self._flush()
        self._last_step, self._last_time = step, time.perf_counter()

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

    def _write(
        self, step: int, split: str, metrics: dict[str, float], of_training: dict[str, float]
    ) -> None:
        """Writes a row of metrics.jsonl, and curves; those of training only have charts apart."""
        if not self._events:
            return
        self._run.add_metrics({"step": step, "split": split} | metrics | of_training)
        curves = {f"metrics/{name}": value for name, value in metrics.items() if name != "examples"}
        curves |= {f"training/{name}": value for name, value in of_training.items()}
        for tag, value in curves.items():
            self._events[split].add(step, summary.scalar(tag, value))
        if not self._run.is_remote:  # there, each flush would send the whole file
            self._events[split].flush()

    def _flush(self) -> None:
        for events in self._events.values():
            events.flush()
        if self._events:
            self._run.flush_metrics()


class EventFile:
    """A TensorBoard event file, without a thread of its own.

    tensorboardX's SummaryWriter has one; a full disk kills that thread, and the run then hangs.
    """

    def __init__(self, folder: str, first_step: int):
        """Starts a new file; TensorBoard then hides events of older files after `first_step`."""
        epath.Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter(f"{folder}/{name}")
        self.flush, self.close = self._writer.flush, self._writer.close
        self._write(file_version="brain.Event:2")
        self._write(step=first_step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, values: Any) -> None:
        """Adds what a function of tensorboardX.summary returned."""
        self._write(step=step, summary=values)

    def _write(self, **fields: Any) -> None:
        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())
