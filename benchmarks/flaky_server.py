"""python benchmarks/flaky_server.py DIR: serves a folder's files over loopback, and cuts most answers short.

Understands Range: bytes=A- and bytes=A-B, as the published server does. Every answer ends after a random
number of bytes, --cut-every-mb on average, wherever that is less than the rest. The first line printed is the
address; one line follows for each cut.
"""

import argparse
import random
import re
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK_BYTES = 1 << 18


class FlakyServer(ThreadingHTTPServer):
    """Serves the files that lie in `folder`; no answer is longer than 1.5 times `cut_every_bytes`."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, cut_every_bytes: int, seed: int):
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder, self.cuts = folder, 0
        self._cut_every_bytes, self._random, self._lock = (
            cut_every_bytes,
            random.Random(seed),
            threading.Lock(),
        )

    def draw_cut(self) -> int:
        """After how many bytes to cut the next answer."""
        with self._lock:
            return int(self._random.uniform(0.5, 1.5) * self._cut_every_bytes)

    def count_cut(self) -> None:
        with self._lock:
            self.cuts += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlakyServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.server.folder / self.path.removeprefix("/")
        if path.parent != self.server.folder or not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        first, last, status = 0, size - 1, HTTPStatus.OK
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(match[1]), min(int(match[2] or last), last)
            status = HTTPStatus.PARTIAL_CONTENT
            if first > last:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            try:
                self._send(path, first, last + 1 - first)
            except ConnectionError:  # the client has gone
                self.close_connection = True

    def _send(self, path: Path, first: int, length: int) -> None:
        """Sends so many bytes of a file, or as many as the server grants; then the connection breaks."""
        granted = min(length, self.server.draw_cut())
        with open(path, "rb") as file:
            file.seek(first)
            for start in range(0, granted, BLOCK_BYTES):
                self.wfile.write(file.read(min(BLOCK_BYTES, granted - start)))
        if granted < length:
            self.server.count_cut()
            print(f"cut {path.name} at byte {first + granted:,}", flush=True)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing of requests that went well."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument(
        "--cut-every-mb", type=float, default=100.0, help="mean length of an answer"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    server = FlakyServer(folder, arguments.port, int(arguments.cut_every_mb * 1e6), arguments.seed)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
