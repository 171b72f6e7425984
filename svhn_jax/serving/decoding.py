"""Decodes photos in a process of its own: one that crashes a codec costs one line, not the server.

Imports no JAX.
"""

import contextlib
import io
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from PIL import Image

from svhn_jax.data import photos

DECODE_S = 30.0  # then the process is killed
PREVIEW_SIDE = 1600  # pixels


class Decoder:
    """The process. It starts when it is needed, and again after a photo that ended it.

    One thread at a time may use it.

    decoder = Decoder()
    photo = decoder.decode(content)
    decoder.close()
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def decode(self, content: bytes) -> Image.Image:
        """The upright RGB photo.

        Raises:
          ValueError: the content is no photo, crashes its codec, or takes more than DECODE_S.
        """
        if not self._pool:
            context = multiprocessing.get_context("spawn")  # JAX's threads forbid fork
            self._pool = ProcessPoolExecutor(1, context, _begin)
            self._pid = self._pool.submit(os.getpid).result()
        try:
            return self._pool.submit(photos.decode_photo, content).result(DECODE_S)
        except (BrokenProcessPool, TimeoutError, MemoryError):
            self.close()
            raise ValueError("the photo cannot be decoded; save it anew, as PNG or JPEG") from None

    def close(self) -> None:
        """Kills the process."""
        if self._pool:
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(self._pid, signal.SIGKILL)
            self._pool.shutdown()
            self._pool = None


def preview(photo: Image.Image) -> bytes:
    """A JPEG file of an RGB photo, reduced to at most PREVIEW_SIDE pixels a side."""
    reduced = photo.copy()
    reduced.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), reducing_gap=2)
    file = io.BytesIO()
    reduced.save(file, "JPEG", quality=85)
    return file.getvalue()


def _begin() -> None:
    """In the new process: leaves Ctrl-C to the server, and ends when the server ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()
