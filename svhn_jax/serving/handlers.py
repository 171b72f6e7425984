"""The answers to requests: what all share, and those that read a photo."""

import asyncio
import http.client
import re
from typing import Any
from urllib.parse import parse_qsl

from tornado import web
from tornado.ioloop import IOLoop

from svhn_jax import output
from svhn_jax.data.crop import SIDES
from svhn_jax.serving import origin
from svhn_jax.serving.limits import Refusal, ending
from svhn_jax.serving.worker import AnyBox, Place, Worker

MESSAGES = {
    404: "no such address; there are GET /, GET /health, POST /read and POST /preview",
    405: "no such method here; there are GET /, GET /health, POST /read and POST /preview",
    500: "an error of the server; its terminal has the details",
}
NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?")
DRAINED = 8  # times the allowed size: a photo up to that is received and dropped, so that the client gets the answer
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "svhn_jax",
    "X-Content-Type-Options": "nosniff",
}


class Handler(web.RequestHandler):
    """What all answers share: headers, errors as JSON, and the check of the Host header."""

    def initialize(self, worker: Worker, host: str, public_name: str | None) -> None:
        self.worker, self.host, self.public_name = worker, host, public_name

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        if refusal := self.refusal():
            self.refuse(refusal)

    def refusal(self) -> Refusal | None:
        """Why the request is not answered, as far as its headers tell."""
        if origin.is_allowed_host(
            self.request.headers.get("Host", ""), self.host, self.public_name
        ):
            return None
        text = "use the machine's numeric address, or start svhn_jax.serve with this name as --public-name"
        return Refusal(421, f"the address names another server; {text}")

    def refuse(self, refusal: Refusal) -> None:
        if self._finished:
            return
        self.set_status(refusal.status)
        if refusal.retry_after_s is not None:
            self.set_header("Retry-After", str(refusal.retry_after_s))
        self.answer({"error": str(refusal)})

    def answer(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(output.json_line(value) + "\n")

    def write_error(self, status_code: int, **_: Any) -> None:
        reason = http.client.responses.get(status_code, "error").lower()
        self.answer({"error": MESSAGES.get(status_code, reason)})


@web.stream_request_body
class Photo(Handler):
    """A POST of a photo's bytes. A refused photo is received, and dropped, before the answer: else clients miss it."""

    def prepare(self) -> None:
        self._place: Place | None = None
        self._content = bytearray()
        self._late: object | None = None
        if self.request.method != "POST":
            super().prepare()
            return
        self._late = IOLoop.current().call_later(self.worker.limits.upload_s, self._is_late)
        most = DRAINED * self.worker.limits.bytes
        self._refused = self.refusal()
        if not self._refused:
            try:
                self._place = self._admit()
            except Refusal as refusal:
                self._refused = refusal
        connection: Any = self.request.connection
        connection.set_max_body_size(most)
        if self._refused and self._length() > most:
            self.refuse(self._refused)

    def refusal(self) -> Refusal | None:
        headers = self.request.headers
        if refusal := super().refusal():
            return refusal
        names = (headers.get("Host", ""), self.public_name)
        if origin.is_own_origin(
            headers.get("Origin"), headers.get("Sec-Fetch-Site"), *filter(None, names)
        ):
            return None
        return Refusal(
            403, "another web site sent this photo; open the page of svhn_jax.serve itself"
        )

    def _length(self) -> int:
        text = self.request.headers.get("Content-Length", "")
        return int(text) if re.fullmatch("[0-9]{1,18}", text) else 0

    def _admit(self) -> Place:
        if "Content-Length" not in self.request.headers:
            raise Refusal(
                411, "the header Content-Length is missing; it tells the size of the photo"
            )
        if self.request.headers.get("Content-Type", "").startswith("multipart/"):
            raise Refusal(
                400,
                "send the photo's bytes themselves as the body, not a form: curl --data-binary @photo.jpg",
            )
        size, most = self._length(), self.worker.limits.bytes
        if size > most:
            raise Refusal(413, f"the photo has {size:,} bytes; at most {most:,} are read")
        if not size:
            raise Refusal(400, "no photo; send its bytes as the body")
        self.check_query()
        return self.worker.admit()

    def check_query(self) -> None:
        """Raises Refusal if the address has other options than this method takes."""
        if self.request.query_arguments:
            raise Refusal(400, "this address takes no options")

    def data_received(self, chunk: bytes) -> None:
        if not self._place:
            return
        try:
            self._place.add(len(chunk))
            self._content += chunk
        except Refusal as refusal:
            self._place.leave()
            self._place, self._content, self._refused = None, bytearray(), refusal

    async def post(self) -> None:
        self._stop_clock()
        if not self._place:
            assert self._refused
            self.refuse(self._refused)
            return
        try:
            self.respond(await self._place.take(self.work))
        except Refusal as refusal:
            self.refuse(refusal)
        except asyncio.CancelledError:  # or the client has gone, and nobody gets this
            self.refuse(ending())

    def work(self) -> Any:
        """What a thread of the worker does with the photo."""
        raise NotImplementedError

    def respond(self, result: Any) -> None:
        self.answer(result)

    def _is_late(self) -> None:
        self.refuse(
            Refusal(408, f"the photo did not arrive within {self.worker.limits.upload_s:g} s")
        )

    def _stop_clock(self) -> None:
        if self._late:
            IOLoop.current().remove_timeout(self._late)
            self._late = None

    def _leave(self) -> None:
        self._stop_clock()
        if self._place:
            self._place.leave()

    def on_finish(self) -> None:
        self._leave()
        self._content = bytearray()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._leave()


class Read(Photo):
    """Reads the photo; the address may have a box (left, top, width, height) or `whole`."""

    def check_query(self) -> None:
        self._box = self._box_in_query()

    def work(self) -> Any:
        return self.worker.read(self._content, self._box)

    def _box_in_query(self) -> AnyBox:
        query = self.request.query
        if not query:
            return None
        if query in ("whole", "whole=", "whole=1"):
            return "whole"
        given = parse_qsl(query, keep_blank_values=True)
        texts = dict(given)
        if (
            len(given) != len(SIDES)
            or set(texts) != set(SIDES)
            or not all(map(NUMBER.fullmatch, texts.values()))
        ):
            raise Refusal(400, "give left, top, width and height in pixels, or whole, or nothing")
        left, top, width, height = (float(texts[name]) for name in SIDES)
        return left, top, width, height


class Preview(Photo):
    """A JPEG of the photo, for formats that browsers cannot show."""

    def work(self) -> Any:
        return self.worker.preview(self._content)

    def respond(self, result: Any) -> None:
        self.set_header("Content-Type", "image/jpeg")
        self.finish(result)
