"""A server in a thread of the test, with a reader that takes no time, and requests to it."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import httpx
import uvicorn
from PIL import Image

from svhn_jax.data.crop import Box
from svhn_jax.inference.reading import Reading
from svhn_jax.serving.app import UVICORN, App


class Reader:
    """Reads `reading`, or 42 at `place`, in every photo, and remembers photos and boxes."""

    def __init__(self) -> None:
        self.reading: Reading | None = None
        self.place: Box | None = Box(10, 5, 30, 15)
        self.seen: list[tuple[Image.Image, Any]] = []

    def read(self, photo: Image.Image, box: Any = None) -> Reading:
        self.seen.append((photo, box))
        if self.reading:
            return self.reading
        if box is None and self.place is None:
            return Reading("", 0.0, (), 0.0, None, 0.0)
        if box is None:
            return Reading("42", 0.97, (0.99, 0.98), 0.995, self.place, 0.8)
        left, top, width, height = (0.0, 0.0, 0.0, 0.0) if box == "whole" else box
        given = None if box == "whole" else Box(left, top, left + width, top + height)
        return Reading("42", 0.5, (0.99, 0.6), 0.995, given, None)


class Served(NamedTuple):
    """A running server."""

    address: str
    reader: Reader

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """The answer to one request; names of headers with _ for -."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return httpx.request(method, self.address + path, content=body, headers=named, timeout=60)

    def read(self, photo: bytes, query: str = "", **headers: str) -> Any:
        return self.ask("POST", "/read" + query, photo, **headers)


@contextmanager
def running(public_name: str | None = None) -> Iterator[Served]:
    reader = Reader()
    with (
        closing(App(lambda *each: reader.read(*each), public_name=public_name)) as app,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        server = uvicorn.Server(uvicorn.Config(app, **UVICORN))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", reader)
        server.should_exit = True
        thread.join()


def picture(width: int = 40, height: int = 20, format: str = "PNG", **options: Any) -> bytes:
    return saved(Image.new("RGB", (width, height), "gray"), format, **options)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(image: Image.Image, orientation: int, format: str) -> bytes:
    """An image file with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, format, exif=exif)
