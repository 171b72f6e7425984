"""The HTTP interface: GET / (the page), GET /health, POST /read, POST /preview. It serves no files."""

import base64
import hashlib
import re
from importlib import resources
from typing import Any

from tornado import iostream, web
from tornado.httpserver import HTTPServer

from svhn_jax.serving.handlers import Handler, Preview, Read
from svhn_jax.serving.limits import Limits
from svhn_jax.serving.worker import Worker

MAX_OTHER_BYTES = 2**16  # of headers, and of bodies that are not photos


def serve(worker: Worker, host: str) -> "Server":
    """The server; `host` is the name or address that it listens on. Its sockets are added with `add_sockets`."""
    page = resources.files("svhn_jax.serving").joinpath("page.html").read_text("utf-8")
    page = page.replace('data-most-bytes=""', f'data-most-bytes="{worker.limits.bytes}"')
    shared = {"worker": worker, "host": host}
    routes: list[Any] = [
        ("/", Page, shared | {"page": page, "policy": policy(page)}),
        ("/health", Health, shared),
        ("/read", Read, shared),
        ("/preview", Preview, shared),
    ]
    application = web.Application(
        routes, default_handler_class=Missing, default_handler_args=shared, log_function=lambda _: None
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


class Server(HTTPServer):
    """An HTTP server with a limit on connections."""

    def initialize(self, application: web.Application, limits: Limits) -> None:  # type: ignore[override]
        super().initialize(
            application,
            idle_connection_timeout=limits.upload_s,
            max_header_size=MAX_OTHER_BYTES,
            max_body_size=MAX_OTHER_BYTES,
        )
        self._most = limits.connections

    def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
        if len(self._connections) >= self._most:
            stream.close()
            return
        super().handle_stream(stream, address)


class Missing(Handler):
    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            raise web.HTTPError(404)


class Page(Handler):
    def initialize(self, worker: Worker, host: str, page: str, policy: str) -> None:  # type: ignore[override]
        super().initialize(worker, host)
        self._page, self._policy = page, policy

    def get(self) -> None:
        self.set_header("Content-Security-Policy", self._policy)
        self.finish(self._page)

    head = get


class Health(Handler):
    def get(self) -> None:
        self.answer({"status": "ok", "photos_read": self.worker.photos_read, "requests": self.worker.requests})

    head = get
