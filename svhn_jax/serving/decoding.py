"""Decodes photos in a process of its own: one that crashes a codec costs one line, not the server.

Imports no JAX.
"""

import io
import multiprocessing
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

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
        self._process: BaseProcess | None = None

    def decode(self, content: bytes) -> Image.Image:
        """The upright RGB photo.

        Raises:
          ValueError: the content is no photo, crashes its codec, or takes more than DECODE_S.
        """
        if not (self._process and self._process.is_alive()):
            self._start()
        try:
            self._connection.send_bytes(content)
            if not self._connection.poll(DECODE_S):
                raise EOFError
            answer = self._connection.recv()
            if isinstance(answer, str):
                raise ValueError(answer)
            return Image.frombuffer(
                "RGB", answer, self._connection.recv_bytes(), "raw", "RGB", 0, 1
            )
        except (EOFError, OSError):
            self.close()
            raise ValueError("the photo cannot be decoded; save it anew, as PNG or JPEG") from None

    def close(self) -> None:
        """Kills the process."""
        if self._process:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")  # JAX's threads forbid fork
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()


def preview(photo: Image.Image) -> bytes:
    """A JPEG file of an RGB photo, reduced to at most PREVIEW_SIDE pixels a side."""
    reduced = photo.copy()
    reduced.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), reducing_gap=2)
    file = io.BytesIO()
    reduced.save(file, "JPEG", quality=85)
    return file.getvalue()


def _serve(connection: Connection) -> None:
    """Answers photos with size and pixels, or with a line, until the server closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    while True:
        try:
            content = connection.recv_bytes()
        except EOFError:
            return
        try:
            photo = photos.decode_photo(content)
        except (ValueError, MemoryError) as error:
            connection.send(str(error) or "the photo needs too much memory to decode")
        else:
            connection.send(photo.size)
            connection.send_bytes(photo.tobytes())
