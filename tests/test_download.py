"""The download command, against a small server on this machine that fails in known ways."""

import functools
import hashlib
import http.server
import json
import random
import socket
import struct
import threading

import pytest

from svhn_jax import cli, download
from svhn_jax.data.sources import published
from svhn_jax.data.sources.published import Published
from svhn_jax.errors import InputError

CONTENT = random.Random(0).randbytes(300_000)
SIZE = len(CONTENT)
ARCHIVE = Published(SIZE, hashlib.sha256(CONTENT).hexdigest(), 1)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request as the next of the server's `script`, and well when that is used up."""

    def do_GET(self):
        self.server.ranges.append(self.headers["Range"])
        self.start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        (self.server.script.pop(0) if self.server.script else whole)(self)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def whole(handler, upto=None):
    """Answers well, or breaks off before byte `upto`."""
    start, content = handler.start, handler.server.content
    about = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
    handler.answer(206, content[start:upto], Content_Length=len(content) - start, **about)


def cut(upto):
    return functools.partial(whole, upto=upto)


def status(code):
    return lambda handler: handler.answer(code, b"sorry", Content_Length=5)


def ignore_range(handler):
    handler.answer(200, CONTENT, Content_Length=SIZE)


def reset(handler):
    handler.answer(200, CONTENT[:1000], Content_Length=SIZE)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def stall(handler):
    handler.answer(200, CONTENT[:1000], Content_Length=SIZE)
    handler.server.released.wait()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.script, server.ranges, server.content = [], [], CONTENT
        server.released = threading.Event()
        server.handle_error = lambda *_: None  # a client that left
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


@pytest.fixture
def fetch(server, tmp_path):
    """Fetches train.tar.gz from the server to tmp_path; returns the pauses, in seconds."""

    def fetch(url=f"http://127.0.0.1:{server.server_port}"):
        pauses = []
        download.fetch_archives(tmp_path, {"train": ARCHIVE}, url, pause=pauses.append)
        assert [path.name for path in tmp_path.iterdir()] == ["train.tar.gz"]
        assert (tmp_path / "train.tar.gz").read_bytes() == CONTENT
        return pauses

    return fetch


@pytest.fixture
def part(tmp_path):
    """The first 1000 bytes, of an interrupted download."""
    path = tmp_path / "train.tar.gz.part"
    path.write_bytes(CONTENT[:1000])
    return path


def test_an_archive_is_fetched_once_and_replaces_another_one(server, fetch, tmp_path):
    (tmp_path / "train.tar.gz").write_bytes(b"another")
    assert fetch() == fetch() == []
    assert server.ranges == ["bytes=0-"]


@pytest.mark.parametrize("length", [1, 1000, SIZE])
def test_a_part_is_completed(server, fetch, part, length):
    part.write_bytes(CONTENT[:length])
    fetch()
    assert server.ranges == ([f"bytes={length}-"] if length < SIZE else [])


def test_cuts_with_progress_never_use_up_the_attempts(server, fetch):
    ends = list(range(30_000, SIZE, 30_000))  # 9 cuts, more than may fail in a row
    server.script = [cut(end) for end in ends]
    assert fetch() == [2] * 9
    assert server.ranges == [f"bytes={start}-" for start in (0, *ends)]


def test_without_progress_the_pauses_double_and_it_gives_up(server, fetch, part):
    server.script = [status(503)] * 5
    with pytest.raises(InputError, match=r"train\.tar\.gz: .*503"):
        fetch()
    assert (len(server.ranges), part.read_bytes()) == (5, CONTENT[:1000])
    server.script = [status(503)] * 4
    assert fetch() == [2, 4, 8, 16]


FAILURES = [status(500), status(429), reset, stall, cut(0)]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_that_may_pass_is_tried_again(server, fetch, part, monkeypatch, failure):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    server.script = [failure]
    assert fetch() == [2]


@pytest.mark.parametrize("code", [403, 404])
def test_an_answer_that_will_not_change_is_an_error_at_once(server, fetch, part, code):
    server.script = [status(code)]
    with pytest.raises(InputError, match=rf"train\.tar\.gz: .*{code}"):
        fetch()
    assert (len(server.ranges), part.read_bytes()) == (1, CONTENT[:1000])


def test_a_server_without_ranges_is_read_from_its_start(server, fetch, part):
    server.script = [ignore_range]
    assert fetch() == []


def test_a_file_of_another_size_is_refused_and_other_bytes_are_deleted(server, fetch, tmp_path):
    (tmp_path / "train.tar.gz").write_bytes(b"another")
    server.content = CONTENT[:-1]
    with pytest.raises(InputError, match=rf"train\.tar\.gz: .*{SIZE - 1}"):
        fetch()
    server.content = bytes(SIZE)
    with pytest.raises(InputError, match=r"train\.tar\.gz: SHA-256"):
        fetch()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"another"]


@pytest.mark.parametrize("url", ["http://nowhere.invalid", "http://127.0.0.1:9", "http://[::1"])
def test_a_server_that_is_not_there_is_named(fetch, part, url):
    with pytest.raises(InputError, match=r"train\.tar\.gz: "):
        fetch(url)
    assert part.exists()


def test_the_command_prints_what_it_has(server, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(published, "ARCHIVES", {"train": ARCHIVE, "test": ARCHIVE})
    arguments = ["--to", str(tmp_path / "raw"), "--splits", "train", "--json", "--base-url"]
    url = f"http://127.0.0.1:{server.server_port}/"
    assert cli.call(download.Options, download.main, [*arguments, url]) == 0
    made = json.loads(capfd.readouterr().out)["archives"]
    assert {split: one["sha256"] for split, one in made.items()} == {"train": ARCHIVE.sha256}
    for bad in ("ftp://x/y", "file:///x"):
        assert cli.call(download.Options, download.main, [*arguments, bad]) == 1
        assert "--base-url" in capfd.readouterr().err
