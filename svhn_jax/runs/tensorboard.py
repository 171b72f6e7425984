"""What a run writes for TensorBoard: event files, the configuration, pictures and histograms."""

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from svhn_jax import config_files
from svhn_jax.config import Config

BINS = 64


class EventFile:
    """A TensorBoard event file, without a thread of its own.

    tensorboardX's SummaryWriter has one; a full disk kills that thread, and the run then hangs.
    """

    def __init__(self, folder: str, first_step: int):
        """Starts a new file; TensorBoard then hides events of older files after `first_step`."""
        epath.Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter(f"{folder}/{name}")
        self._write(file_version="brain.Event:2")
        self._write(step=first_step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, *summaries: Any) -> None:
        """Adds summaries made by tensorboardX.summary."""
        for values in summaries:
            self._write(step=step, summary=values)

    def flush(self) -> None:
        """Writes buffered events to disk."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _write(self, **fields: Any) -> None:
        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())


def scalars(values: dict[str, float]) -> list[Any]:
    """A point on the curve of each tag."""
    return [summary.scalar(tag, value) for tag, value in values.items()]


def describe(folder: str, step: int, config: Config) -> None:
    """Writes the configuration for the tabs HPARAMS, which compares runs by their fields, and TEXT.

    Args:
      folder: the parent of the folders with curves: TensorBoard takes them for its metrics.
      step: that the run starts from.
    """
    plain = {
        name: value if isinstance(value, bool | int | float) else str(value)
        for name, value in config_files.flatten(config).items()
    }
    rows = "".join(
        f"| {name} | {str(value).replace('|', '&#124;')} |\n" for name, value in plain.items()
    )
    events = EventFile(folder, step)
    events.add(step, summary.hparams(plain, {})[1])
    events.add(step, summary.text("config", f"| field | value |\n|---|---|\n{rows}"))
    events.close()


def picture(tag: str, image: Any) -> Any:
    """A Pillow image or uint8[H, W, 3]."""
    return summary.image(tag, np.asarray(image), dataformats="HWC")


def histograms(params: Any) -> Iterator[Any]:
    """A histogram of the finite values of each array."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        values = np.asarray(jax.device_get(leaf)).ravel()
        values = values[np.isfinite(values)]
        if len(values):
            yield summary.histogram(f"params/{name}", values, bins=BINS)
