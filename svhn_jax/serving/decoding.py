"""Decodes photos, which may be hostile, in a process of its own: it can be killed, and has limits of time and memory.

The process gets a photo on stdin and answers on stdout: one line of JSON, then as many bytes as that line says. It ends
when stdin ends, so it never outlives the server. Imports no JAX.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from typing import Any, BinaryIO

import psutil
from PIL import Image

from svhn_jax.data import photos
from svhn_jax.serving.limits import Limits, Refusal, ending

PIXELS, PREVIEW = b"p", b"v"
MEMORY_BYTES = 2**31  # for a photo of 52 million pixels: at most 9 times 4 bytes a pixel
PREVIEW_SIDE = 1600  # pixels
MAX_LINE = 4096  # bytes of the answer's first line
START_S = 60.0
PIPE_BYTES = 2**20  # the most that Linux grants to all


class Decoder:
    """The process, which is started when it is needed. One thread at a time may use it.

    decoder = Decoder(Limits())
    photo = decoder.photo(content)
    decoder.close()
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def photo(self, content: bytes | bytearray) -> Image.Image:
        """The upright RGB photo.

        Raises:
          Refusal: the content is not a photo, or needs more than the limits.
        """
        about, data = self._ask(PIXELS, content, self._limits.pixels * 3)
        return Image.frombuffer("RGB", (about["width"], about["height"]), data, "raw", "RGB", 0, 1)

    def preview(self, content: bytes | bytearray) -> bytes:
        """A JPEG file of the upright photo, reduced to at most PREVIEW_SIDE pixels; raises as `photo`."""
        return bytes(self._ask(PREVIEW, content, PREVIEW_SIDE**2 * 3)[1])

    def close(self) -> None:
        """Kills the process for good; any thread may call it."""
        self._is_closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # the rest of a photo that nobody reads
                    if pipe:
                        pipe.close()

    def _ask(
        self, wanted: bytes, content: bytes | bytearray, most: int
    ) -> tuple[dict[str, Any], bytearray]:
        for _ in range(2):  # the process may have died since the last photo
            process = self._running(self._limits.pixels)
            with contextlib.suppress(OSError, ValueError):
                return self._exchange(process, wanted, content, most)
        raise Refusal(422, "the photo cannot be decoded")

    def _exchange(
        self, process: subprocess.Popen[bytes], wanted: bytes, content: bytes | bytearray, most: int
    ) -> tuple[dict[str, Any], bytearray]:
        """Raises OSError or ValueError if the process died, or answers what it never should; it is ended then."""
        is_late = threading.Event()

        def kill() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(self._limits.decode_s, kill)
        timer.start()
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(wanted + len(content).to_bytes(8, "big"))
            process.stdin.write(content)
            process.stdin.flush()
            about = json.loads(process.stdout.readline(MAX_LINE))
            if "error" in about:
                raise Refusal(int(about["status"]), str(about["error"]))
            if about["bytes"] > most:
                raise ValueError
            data = bytearray(about["bytes"])
            if process.stdout.readinto(data) < len(data):  # type: ignore[attr-defined]
                raise ValueError
            return about, data
        except (OSError, ValueError):  # it was killed, by the timer or for its memory
            self._end()
            if is_late.is_set():
                raise Refusal(
                    422, f"the photo takes more than {self._limits.decode_s:g} s to decode"
                ) from None
            raise
        finally:
            timer.cancel()

    def _running(self, pixels: int) -> subprocess.Popen[bytes]:
        if (process := self._process) and process.poll() is None:
            return process
        self._end()
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(pixels)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ
            | {"OPENBLAS_NUM_THREADS": "1"},  # its threads' stacks would count as memory
            start_new_session=True,  # Ctrl-C is for the server
            pipesize=PIPE_BYTES,
        )
        if self._is_closed:  # perhaps meanwhile
            self._end()
            raise ending()
        timer = threading.Timer(START_S, process.kill)
        timer.start()
        assert process.stdout
        process.stdout.readline(MAX_LINE)  # it is ready; else the next write fails
        timer.cancel()
        return process


def _limit_this_process() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limits on this system
        import resource

        most = psutil.Process().memory_info().vms + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (0, 0)
        )  # it writes no files, and leaves no core file


def _answer(wanted: bytes, content: bytes, pixels: int) -> tuple[dict[str, Any], bytes]:
    try:
        width, height = photos.photo_size(content)
        if width * height > pixels:
            return {
                "status": 422,
                "error": f"{width} x {height} pixels; at most {pixels:,} are read",
            }, b""
        photo = photos.decode_photo(content)
        size = {"width": photo.width, "height": photo.height}
        if wanted == PIXELS:
            return size, photo.tobytes()
        photo.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        file = io.BytesIO()
        photo.save(file, "JPEG", quality=85)
        return size, file.getvalue()
    except ValueError as error:
        return {"status": 422, "error": str(error)}, b""
    except MemoryError:
        return {"status": 422, "error": "the photo needs too much memory to decode"}, b""


def _serve(source: BinaryIO, target: BinaryIO, pixels: int) -> None:
    target.write(b"ready\n")
    target.flush()
    while wanted := source.read(1):
        content = source.read(int.from_bytes(source.read(8), "big"))
        about, data = _answer(wanted, content, pixels)
        target.write(json.dumps(about | {"bytes": len(data)}).encode() + b"\n")
        target.write(data)
        target.flush()
        del content, data


if __name__ == "__main__":
    _limit_this_process()
    _serve(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
