"""The threads that decode and read photos, and the places of those who wait for them. Imports no JAX."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Protocol

from PIL import Image

from svhn_jax.errors import InputError
from svhn_jax.inference.reading import Reading, as_json
from svhn_jax.serving.decoding import Decoder
from svhn_jax.serving.limits import Limits, Refusal, busy

AnyBox = tuple[float, float, float, float] | Literal["whole"] | None


class Reads(Protocol):
    """What a PhotoReader does."""

    def read(self, photo: Image.Image, box: AnyBox = None) -> Reading: ...


class Worker:
    """Reads photos one after another, while the next one is decoded: at most two decoded photos are in memory.

    with Worker(reader, Limits(), min_confidence=0.9) as worker:
        place = worker.admit()
        try:
            place.add(len(content))
            answer = await place.take(lambda: worker.read(content, None))
        finally:
            place.leave()
    """

    def __init__(self, reader: Reads, limits: Limits, min_confidence: float):
        self.limits = limits
        self.photos_read = 0
        self._reader = reader
        self._min_confidence = min_confidence
        self._decoder = Decoder(limits)
        self._threads = ThreadPoolExecutor(2, "photos")
        self._decoding, self._reading, self._counting = (
            threading.Lock(),
            threading.Lock(),
            threading.Lock(),
        )
        self._requests = self._bytes = 0

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._decoder.close()  # whatever it is decoding; so the threads end soon

    @property
    def requests(self) -> int:
        """Photos that are received, waiting or read now."""
        return self._requests

    def admit(self) -> "Place":
        """A place for a photo; raises Refusal if all are taken."""
        self._take(requests=1)
        return Place(self)

    def read(self, content: bytes | bytearray, box: AnyBox) -> dict[str, Any]:
        """The answer to a photo, for `Place.take`; raises Refusal."""
        with self._decoding:
            photo = self._decoder.photo(content)
        try:
            with self._reading:
                reading = self._reader.read(photo, box)
                self.photos_read += 1
        except InputError as error:
            raise Refusal(422, str(error)) from None
        return as_json(reading) | {
            "check": reading.is_doubtful(self._min_confidence),
            "min_confidence": self._min_confidence,
            "width": photo.width,
            "height": photo.height,
        }

    def preview(self, content: bytes | bytearray) -> bytes:
        """A JPEG file of the photo, for `Place.take`; raises Refusal."""
        with self._decoding:
            return self._decoder.preview(content)

    def submit(self, work: Callable[[], Any]) -> "Future[Any]":
        return self._threads.submit(work)

    def _take(self, *, requests: int = 0, bytes: int = 0) -> None:
        with self._counting:
            most = self.limits
            if (
                self._requests + requests > most.requests
                or self._bytes + bytes > most.waiting_bytes
            ):
                raise busy()
            self._requests += requests
            self._bytes += bytes

    def _release(self, size: int) -> None:
        with self._counting:
            self._requests -= 1
            self._bytes -= size


class Place:
    """One photo's place in the queue. It stays taken until `leave`, and while a thread works on the photo."""

    def __init__(self, worker: Worker):
        self._worker, self._size = worker, 0
        self._work: Future[Any] | None = None
        self._has_left = False

    def add(self, size: int) -> None:
        """Counts bytes of the photo that have arrived; raises Refusal if the photos together have too many."""
        self._worker._take(bytes=size)
        self._size += size

    async def take(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, run by a thread in turn; raises Refusal if that takes too long."""
        self._work = self._worker.submit(work)
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(self._work), self._worker.limits.wait_s
            )
        except TimeoutError:
            raise busy() from None

    def leave(self) -> None:
        """Gives the place back; work that has not begun is dropped."""
        if self._has_left:
            return
        self._has_left = True
        if self._work and not self._work.cancel():
            self._work.add_done_callback(lambda _: self._worker._release(self._size))
        else:
            self._worker._release(self._size)
