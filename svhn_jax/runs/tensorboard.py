"""What a run writes for TensorBoard: event files, the configuration, panels and histograms drawn beside the training."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from svhn_jax import config_files
from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.data.pictures import contact_sheet

SAMPLE_IMAGES = 32
BINS = 64


class EventFile:
    """A TensorBoard event file, without a thread of its own.

    tensorboardX's own SummaryWriter writes in a thread; a full disk kills that thread, and the run then hangs.
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
        """Writes buffered events to disk."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


def describe(folder: str, step: int, config: Config) -> None:
    """Writes the configuration for the tabs HPARAMS, which compares runs by their fields, and TEXT.

    Args:
      folder: of events, the parent of those with the curves: TensorBoard takes them for the metrics of these hparams.
      step: that the run starts from.
      config: of the run.
    """
    fields = config_files.flatten(config)
    plain = {
        name: value if isinstance(value, bool | int | float) else str(value)
        for name, value in fields.items()
    }
    events = EventFile(folder, step)
    events.add(step, summary.hparams(plain, {})[1])
    rows = "".join(
        f"| {name} | {str(value).replace('|', '&#124;')} |\n" for name, value in plain.items()
    )
    events.add(step, summary.text("config", f"| field | value |\n|---|---|\n{rows}"))
    events.close()


class Drawings:
    """Draws sample photos and histograms of the weights in a thread, so that training goes on meanwhile.

    One validation is drawn at a time: the next `add` waits for it. An error is raised at the next call of any method.
    """

    def __init__(self, events: EventFile):
        self._events = events
        self._thread = ThreadPoolExecutor(1, "tensorboard")
        self._running: Future[None] | None = None

    def add(self, step: int, split: Split, predicted: np.ndarray, params: Any) -> None:
        """Draws the first photos of the split with the numbers predicted int32[N, 1 + D], and a histogram of every weight."""
        self.wait()
        # A copy, because the next train step donates the state; of one device, because all hold the same.
        copies = jax.tree.map(lambda x: jnp.copy(x.addressable_data(0)), params)
        self._running = self._thread.submit(
            self._draw, step, split, predicted[:SAMPLE_IMAGES], copies
        )

    def raise_if_failed(self) -> None:
        """Raises the error of a drawing that has failed. Does not wait for one that runs."""
        if self._running and self._running.done():
            self.wait()

    def wait(self) -> None:
        """Waits until nothing is drawn."""
        running, self._running = self._running, None
        if running:
            running.result()

    def close(self, *, is_failing: bool) -> None:
        """Waits, and ends the thread. is_failing: another error is on its way out, and comes first."""
        try:
            with suppress(Exception) if is_failing else nullcontext():
                self.wait()
        finally:
            self._thread.shutdown()

    def _draw(self, step: int, split: Split, predicted: np.ndarray, params: Any) -> None:
        sheet = contact_sheet(
            split.images[: len(predicted)], split.labels[: len(predicted)], predicted
        )
        self._events.add(step, summary.image("readings", np.asarray(sheet), dataformats="HWC"))
        for values in _histograms(params):
            self._events.add(step, values)
        self._events.flush()


def _histograms(params: Any) -> Iterator[Any]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = "/".join(str(key.key) for key in path)
        values = np.asarray(jax.device_get(leaf)).ravel()
        values = values[np.isfinite(values)]
        if len(values):
            yield summary.histogram(f"params/{name}", values, bins=BINS)
