"""The HTTP interface: GET / (the page), GET /health and POST /read. It serves no files."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from importlib import resources
from typing import Any, Literal

from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from svhn_jax.data.crop import SIDES
from svhn_jax.errors import InputError
from svhn_jax.inference.reading import Reading
from svhn_jax.serving import origin
from svhn_jax.serving.decoding import Decoder, preview

MAX_BYTES = 2**25  # of one photo's file
UVICORN: dict[str, Any] = {  # the arguments of uvicorn.Config that the application relies on
    "lifespan": "off",
    "ws": "none",
    "log_config": None,  # tracebacks of errors alone
    "access_log": False,
    "server_header": False,
    "limit_concurrency": 64,  # connections; a further one gets 503
    "timeout_graceful_shutdown": 5,  # seconds, for open requests after Ctrl-C
    "headers": [
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ],
}

AnyBox = tuple[float, float, float, float] | Literal["whole"] | None
Read = Callable[[Image.Image, AnyBox], Reading]


class App:
    """An ASGI application that reads photos with one reader; `photos_read` counts them.

    uvicorn.run(App(svhn_jax.load().read), **UVICORN)
    """

    def __init__(
        self,
        read: Read,
        host: str = "127.0.0.1",
        public_name: str | None = None,
        min_confidence: float = 0.9,
    ):
        """Makes the application.

        Args:
          read: reads a photo, such as `svhn_jax.load().read`.
          host: the name or address that the server listens on.
          public_name: the name, and the port if it is not 443, under which a proxy makes it known.
          min_confidence: a reading of less is marked for a person to check.
        """
        self.photos_read = 0
        self._read, self._min_confidence = read, min_confidence
        self._host, self._public_name = host, public_name
        self._decoder = Decoder()
        self._turn = asyncio.Lock()  # photos are read one after another
        page = resources.files("svhn_jax.serving").joinpath("page.html").read_text("utf-8")
        self._page = page.replace('data-most-bytes=""', f'data-most-bytes="{MAX_BYTES}"')
        self._policy = policy(self._page)
        self._app = Starlette(
            routes=[
                Route("/", self._get_page),
                Route("/health", self._get_health),
                Route("/read", self._post_photo, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _error, Exception: _error},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refusal(Request(scope)) or self._app)(scope, receive, send)

    def close(self) -> None:
        """Ends the process that decodes photos."""
        self._decoder.close()

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that another web site sends."""
        headers, name = request.headers, self._public_name
        host = headers.get("host", "")
        if not origin.is_allowed_host(host, self._host, name):
            text = "not the server's name; use its numeric address, or start with --public-name"
            return JSONResponse({"error": text}, 421)
        sender = headers.get("origin")
        if request.method == "POST" and not origin.is_own_origin(sender, host, name or host):
            text = "another web site sent this photo; open the page of svhn_jax.serve itself"
            return JSONResponse({"error": text}, 403)
        return None

    async def _get_page(self, _: Request) -> Response:
        return HTMLResponse(self._page, headers={"Content-Security-Policy": self._policy})

    async def _get_health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "photos_read": self.photos_read})

    async def _post_photo(self, request: Request) -> Response:
        """Reads the photo in the body; the address may name a box, `whole`, and `preview`."""
        box, content = box_of(request.query_params), await _received(request)
        try:
            async with self._turn:
                if await request.is_disconnected():
                    raise HTTPException(400, "the client has gone")
                photo = await asyncio.to_thread(self._decoder.decode, content)
                reading = await asyncio.to_thread(self._read, photo, box)
        except (ValueError, InputError) as error:
            raise HTTPException(422, str(error)) from None
        self.photos_read += 1
        answer = reading.as_json() | {
            "check": reading.confidence < self._min_confidence,
            "min_confidence": self._min_confidence,
            "width": photo.width,
            "height": photo.height,
        }
        if "preview" in request.query_params:
            data = base64.b64encode(await asyncio.to_thread(preview, photo)).decode()
            answer["preview"] = f"data:image/jpeg;base64,{data}"
        return JSONResponse(answer)


def box_of(query: QueryParams) -> AnyBox:
    """The box that the options of an address name; HTTPException if they are others."""
    names = set(query) - {"preview"}
    if names <= {"whole"}:
        return "whole" if names else None
    try:
        if names == set(SIDES):
            left, top, width, height = (float(query[side]) for side in SIDES)
            return left, top, width, height
    except ValueError:
        pass
    raise HTTPException(400, "give left, top, width and height in pixels, or whole, or nothing")


def policy(page: str) -> str:
    """The Content-Security-Policy of the page: its script, its style, its photos, this server."""
    texts = re.findall(r"<(?:style|script)>(.*?)</", page, re.DOTALL)
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    style, script = (f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def _received(request: Request) -> bytes:
    """The bytes of the photo."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(400, "send the photo itself, no form: curl --data-binary @photo.jpg")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BYTES:
            raise HTTPException(413, f"the photo has more than {MAX_BYTES:,} bytes")
    return bytes(content)


async def _error(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    text = "an error of the server; its terminal has the details"  # uvicorn prints its traceback
    return JSONResponse({"error": text}, 500)
