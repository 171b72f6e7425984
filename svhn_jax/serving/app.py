"""The HTTP interface: GET / (the page), GET /health, POST /read, POST /preview. It serves no files."""

import base64
import hashlib
import re
import socket
from importlib import resources
from typing import Any

from tornado import iostream, web
from tornado.concurrent import Future
from tornado.httpserver import HTTPServer

from svhn_jax.serving.handlers import Handler, Preview, Read
from svhn_jax.serving.limits import Limits
from svhn_jax.serving.worker import Worker

MAX_OTHER_BYTES = 2**16  # of headers, and of bodies that are not photos


def serve(worker: Worker, host: str, public_name: str | None = None) -> "Server":
    """The server. Its sockets are added with `add_sockets`.

    Args:
      host: the name or address that it listens on.
      public_name: the name, and the port if it is not 443, under which a proxy makes it known.
    """
    page = resources.files("svhn_jax.serving").joinpath("page.html").read_text("utf-8")
    page = page.replace('data-most-bytes=""', f'data-most-bytes="{worker.limits.bytes}"')
    shared = {"worker": worker, "host": host, "public_name": public_name}
    routes: list[Any] = [
        ("/", Page, shared | {"page": page, "policy": policy(page)}),
        ("/health", Health, shared),
        ("/read", Read, shared),
        ("/preview", Preview, shared),
    ]
    application = web.Application(
        routes,
        default_handler_class=Missing,
        default_handler_args=shared,
        log_function=lambda _: None,
    )
    return Server(application, worker.limits)


def policy(page: str) -> str:
    """The Content-Security-Policy of the page: its own script and style, its photos, this server, and nothing else."""
    script, style = (_hash_of(page, name) for name in ("script", "style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash_of(page: str, name: str) -> str:
    [text] = re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Stream(iostream.IOStream):
    """A connection that is closed if its client does not take an answer in time."""

    def __init__(self, socket: socket.socket, write_s: float) -> None:
        super().__init__(socket)
        self._write_s = write_s

    def write(self, data: bytes | memoryview) -> "Future[None]":
        written = super().write(data)
        late = self.io_loop.call_later(self._write_s, self.close)
        written.add_done_callback(
            lambda _: self.io_loop.remove_timeout(late)
        )  # closing it ends the write, too
        return written


class Server(HTTPServer):
    """An HTTP server with limits on connections, and on the seconds in which they get and take their bytes."""

    def initialize(self, application: web.Application, limits: Limits) -> None:  # type: ignore[override]
        super().initialize(
            application,
            idle_connection_timeout=limits.upload_s,
            body_timeout=limits.upload_s,
            max_header_size=MAX_OTHER_BYTES,
            max_body_size=MAX_OTHER_BYTES,
        )
        self._limits = limits

    def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
        if len(self._connections) >= self._limits.connections:
            stream.close()
            return
        super().handle_stream(Stream(stream.socket, self._limits.upload_s), address)


class Missing(Handler):
    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            raise web.HTTPError(404)


class Page(Handler):
    def initialize(  # type: ignore[override]
        self, worker: Worker, host: str, public_name: str | None, page: str, policy: str
    ) -> None:
        super().initialize(worker, host, public_name)
        self._page, self._policy = page, policy

    def get(self) -> None:
        self.set_header("Content-Security-Policy", self._policy)
        self.finish(self._page)

    head = get


class Health(Handler):
    def get(self) -> None:
        self.answer(
            {
                "status": "ok",
                "photos_read": self.worker.photos_read,
                "requests": self.worker.requests,
            }
        )

    head = get
