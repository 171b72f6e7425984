"""A server in a thread of the test, with a reader that takes no time, and requests to it."""

import asyncio
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from PIL import Image
from tornado import netutil

from svhn_jax.data.crop import Box
from svhn_jax.inference.reading import Reading
from svhn_jax.serving import app
from svhn_jax.serving.limits import Limits
from svhn_jax.serving.worker import Worker


class Reader:
    """Reads `reading`, or 42 at `place`, in every photo. It remembers sizes and boxes; while `gate` is shut it waits."""

    def __init__(self) -> None:
        self.reading: Reading | None = None
        self.place: Box | None = Box(10, 5, 30, 15)
        self.seen: list[tuple[tuple[int, int], Any]] = []
        self.gate = threading.Event()
        self.gate.set()

    def read(self, photo: Image.Image, box: Any = None) -> Reading:
        assert self.gate.wait(60)
        self.seen.append((photo.size, box))
        if self.reading:
            return self.reading
        if box is None and self.place is None:
            return Reading("", 0.0, (), 0.0, None, 0.0)
        if box is None:
            return Reading("42", 0.97, (0.99, 0.98), 0.995, self.place, 0.8)
        left, top, width, height = (0.0, 0.0, 0.0, 0.0) if box == "whole" else box
        given = None if box == "whole" else Box(left, top, left + width, top + height)
        return Reading("42", 0.5, (0.99, 0.6), 0.995, given, None)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served(NamedTuple):
    """A running server."""

    port: int
    worker: Worker
    reader: Reader

    def ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
    ) -> Answer:
        """One request on a connection of its own; header names with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
            )
            response = connection.getresponse()
            return Answer(
                response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def read(self, photo: bytes, query: str = "", **headers: str) -> Answer:
        return self.ask("POST", "/read" + query, photo, **headers)


@contextmanager
def running(limits: Limits = Limits(), public_name: str | None = None) -> Iterator[Served]:  # noqa: B008 -- frozen
    reader = Reader()
    started: list[Any] = []
    is_ready = threading.Event()
    with Worker(reader, limits, min_confidence=0.9) as worker:

        async def serve() -> None:
            ended = asyncio.Event()
            [listening] = netutil.bind_sockets(0, "127.0.0.1")
            server = app.serve(worker, "127.0.0.1", public_name)
            server.add_sockets([listening])
            started.extend([listening.getsockname()[1], asyncio.get_running_loop(), ended])
            is_ready.set()
            await ended.wait()
            server.stop()
            streams = [connection.stream for connection in server._connections]
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:  # so ends svhn_jax.serve
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for stream in streams:
                stream.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        assert is_ready.wait(60)
        port, loop, ended = started
        try:
            yield Served(port, worker, reader)
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            reader.gate.set()


def picture(width: int = 40, height: int = 20, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "gray").save(file, format, **options)
    return file.getvalue()


def exchange(server: Served, request: bytes, *, then: bytes = b"") -> bytes:
    """The raw answer to raw bytes on a new connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request + then)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def head(server: Served, length: int) -> bytes:
    """The header of a request with a photo of `length` bytes."""
    return f"POST /read HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: {length}\r\n\r\n".encode()


def wait_for_requests(server: Served, count: int) -> None:
    """Waits until that many photos are in the server."""
    wait_for(lambda: server.worker.requests == count)


def wait_for(is_so: Callable[[], bool]) -> None:
    """Waits until it is so; fails after a minute."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_thread(work: Callable[[], Answer]) -> tuple[threading.Thread, list[Answer]]:
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers
