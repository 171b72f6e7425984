"""The download command, against a small server on this machine that misbehaves as told."""

import fcntl
import functools
import hashlib
import http.server
import io
import os
import random
import re
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import urllib.request
import urllib.response
from collections import namedtuple
from pathlib import Path

import pytest
from rich.console import Console

from svhn_jax import download
from svhn_jax.data.sources import published
from svhn_jax.data.sources.published import Archive, read_checksums
from svhn_jax.errors import InputError, run_command

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SIZE = len(CONTENT)
ARCHIVE = Archive(SIZE, hashlib.sha256(CONTENT).hexdigest())


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Answers each request as the next of `script` says, and well when that is used up; keeps each path and Range."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.requests, self.content = [], [], CONTENT
        self.released = threading.Event()  # what stalls goes on
        self.url = f"http://127.0.0.1:{self.server_port}"

    def ranges(self):
        return [header for _, header in self.requests]

    def handle_error(self, request, client_address):
        """A client that left is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append((self.path, self.headers["Range"]))
        (self.server.script.pop(0) if self.server.script else whole)(self)

    def start(self):
        """First byte that the request asks for."""
        return (
            int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if self.headers["Range"]
            else 0
        )

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def whole(handler, upto=None):
    """Answers well; or breaks off before byte `upto`."""
    content, start = handler.server.content, handler.start()
    headers = {"Content_Length": len(content) - start}
    if start:
        headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.answer(206 if start else 200, content[start:upto], **headers)


def cut(upto):
    return functools.partial(whole, upto=upto)


def status(code, **headers):
    return lambda handler: handler.answer(code, b"sorry", Content_Length=5, **headers)


def ignore_range(handler, upto=None):
    handler.answer(200, handler.server.content[:upto], Content_Length=SIZE)


def reset(handler):
    handler.answer(200, CONTENT[:1000], Content_Length=SIZE)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def garbage(handler):
    handler.wfile.write(b"220 this is another protocol\r\n\r\n")


def hang_up(handler):
    """Closes without an answer."""


def stall_before_the_answer(handler):
    handler.server.released.wait()


def stall(handler):
    handler.answer(200, CONTENT[:1000], Content_Length=SIZE)
    handler.server.released.wait()
    handler.wfile.write(CONTENT[1000:])


def break_a_chunk(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.answer(200, b"FFFF\r\n" + CONTENT[:1000], Transfer_Encoding="chunked")


def other_range(handler):
    handler.answer(
        206, CONTENT[7:], Content_Length=SIZE - 7, Content_Range=f"bytes 7-{SIZE - 1}/{SIZE}"
    )


def no_range(handler):
    handler.answer(206, CONTENT[handler.start() :])


def redirect(handler):
    handler.answer(302, Location=f"{handler.server.url}/elsewhere/train.tar.gz")


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    """Fetches train.tar.gz from the server to tmp_path; returns what was printed and the pauses made, in seconds."""

    def fetch(archive=ARCHIVE, url=server.url, terminal=False):
        text, pauses = io.StringIO(), []
        console = Console(
            file=text, force_terminal=terminal, width=200, highlight=False, markup=False
        )
        download.fetch_archives(tmp_path, {"train": archive}, url, console, pauses.append)
        return text.getvalue(), pauses

    return fetch


@pytest.fixture
def target(tmp_path):
    return tmp_path / "train.tar.gz"


@pytest.fixture
def part(tmp_path):
    return tmp_path / "train.tar.gz.part"


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


# What is published


def test_the_published_archives_add_up():
    assert sum(archive.photos for archive in published.ARCHIVES.values()) == 248_823
    assert sum(archive.bytes for archive in published.ARCHIVES.values()) == 2_636_187_279
    assert {len(archive.sha256) for archive in published.ARCHIVES.values()} == {64}
    assert published.ARCHIVES["test"].sha256.startswith("57ac9ceb")


def test_a_file_of_checksums_is_read(tmp_path):
    path = tmp_path / "sums"
    path.write_text(
        f"# ours\n\n{'AB' * 32}  12 train.tar.gz\n{'0' * 64}\t3\textra.tar.gz  # three\n"
    )
    assert read_checksums(path) == {"train": Archive(12, "ab" * 32), "extra": Archive(3, "0" * 64)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "sums: has no archive"),
        (f"{'0' * 63} 12 train.tar.gz", "sums, line 1: '000"),
        (f"{'0' * 65} 12 train.tar.gz", "sums, line 1"),
        (f"{'0' * 64} 12 train.tar.gz\n{'0' * 64} 0 test.tar.gz", "sums, line 2"),
        (f"{'0' * 64} 12 ../train.tar.gz", "sums, line 1"),
        (f"{'0' * 64} train.tar.gz", "sums, line 1"),
        (
            f"{'0' * 64} 1 train.tar.gz\n{'1' * 64} 1 train.tar.gz",
            "sums, line 2: a second train.tar.gz",
        ),
        ("\xff\xfe\x00", "sums, line 1"),
    ],
)
def test_a_bad_file_of_checksums_names_the_line(tmp_path, text, words):
    path = tmp_path / "sums"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=re.escape(words)):
        read_checksums(path)


# Fetching and going on


def test_an_archive_is_fetched_in_one_request(server, fetch, target, tmp_path):
    printed, pauses = fetch()
    assert target.read_bytes() == CONTENT
    assert files_in(tmp_path) == ["train.tar.gz"]
    assert server.requests == [("/train.tar.gz", None)]
    assert pauses == []
    assert printed == (
        f"{server.url}/train.tar.gz: from byte 0 of 300,000\n{target}: 300.0 kB, SHA-256 {ARCHIVE.sha256}\n"
    )


def test_a_complete_archive_is_not_fetched_again(server, fetch, target):
    target.write_bytes(CONTENT)
    printed, _ = fetch()
    assert printed == f"{target} is complete: 300.0 kB, SHA-256 {ARCHIVE.sha256}\n"
    assert server.requests == []


def test_a_part_goes_on_where_it_was(server, fetch, target, part):
    part.write_bytes(CONTENT[:100_001])
    printed, _ = fetch()
    assert target.read_bytes() == CONTENT
    assert server.ranges() == ["bytes=100001-"]
    assert "from byte 100,001 of 300,000" in printed


def test_a_complete_part_is_only_verified(server, fetch, target, part):
    part.write_bytes(CONTENT)
    printed, _ = fetch()
    assert printed == f"{target}: 300.0 kB, SHA-256 {ARCHIVE.sha256}\n"
    assert target.read_bytes() == CONTENT
    assert not part.exists()
    assert server.requests == []


def test_cuts_that_make_progress_never_use_up_the_attempts(server, fetch, target):
    ends = list(range(30_000, 300_000, 30_000))  # 9 cuts, more than may fail in a row
    server.script = [cut(end) for end in ends]
    printed, pauses = fetch()
    assert target.read_bytes() == CONTENT
    assert server.ranges() == [None] + [f"bytes={end}-" for end in ends]
    assert pauses == [1] * 9
    assert (
        "train.tar.gz: the connection was closed at 30,000 of 300,000 bytes; again in 1 s"
        in printed
    )


def test_without_progress_the_pauses_double_and_it_gives_up(server, fetch, target, part):
    part.write_bytes(CONTENT[:1000])
    server.script = [status(503)] * 100
    with pytest.raises(
        InputError,
        match="503 Service Unavailable at 1,000 of 300,000 bytes, 5 times without progress",
    ):
        fetch()
    assert len(server.requests) == 5
    assert part.read_bytes() == CONTENT[:1000]
    server.script = [status(503)] * 4 + [cut(2000)] + [status(503)] * 4
    _, pauses = fetch()
    assert pauses == [2, 4, 8, 16, 1, 2, 4, 8, 16]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (status(500), "500 Internal Server Error"),
        (status(503), "503 Service Unavailable"),
        (status(429), "429 Too Many Requests"),
        (reset, "onnection reset by peer"),
        (hang_up, "closed connection without response"),
        (garbage, "220 this is another protocol"),
        (stall_before_the_answer, "timed out"),
        (stall, "timed out at 1,000 of"),
        (break_a_chunk, "IncompleteRead"),
        (cut(0), "the connection was closed at 0 of"),
    ],
)
def test_what_may_pass_is_tried_again(server, fetch, target, monkeypatch, failure, words):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    server.script = [failure]
    printed, pauses = fetch()
    assert words in printed
    assert len(pauses) == 1
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("code", [400, 401, 403, 404, 407, 410])
def test_what_will_not_pass_fails_at_once(server, fetch, part, code):
    part.write_bytes(CONTENT[:1000])
    server.script = [status(code)]
    with pytest.raises(
        InputError, match=f"/train.tar.gz: the server answers {code} .*; check --base-url"
    ):
        fetch()
    assert len(server.requests) == 1
    assert part.read_bytes() == CONTENT[:1000]


def test_a_server_without_ranges_starts_over(server, fetch, target, part):
    part.write_bytes(OTHER[:1000])
    server.script = [ignore_range]
    fetch()
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_server_that_starts_over_and_breaks_off_each_time_is_given_up(server, fetch):
    ends = [200_000] + [100_000, 150_000] * 50
    server.script = [functools.partial(ignore_range, upto=end) for end in ends]
    with pytest.raises(InputError, match="at 100,000 of 300,000 bytes, 5 times without progress"):
        fetch()
    assert len(server.requests) == 6  # the first one was progress


@pytest.mark.parametrize("answer", [other_range, no_range, status(416)])
def test_a_range_that_was_not_asked_for_is_not_appended(server, fetch, target, part, answer):
    part.write_bytes(CONTENT[:1000])
    server.script = [answer]
    fetch()
    assert target.read_bytes() == CONTENT
    assert server.ranges() == ["bytes=1000-", None]


def test_redirections_are_followed_with_the_range(server, fetch, target, part):
    part.write_bytes(CONTENT[:1000])
    server.script = [redirect]
    fetch()
    assert target.read_bytes() == CONTENT
    assert server.requests == [
        ("/train.tar.gz", "bytes=1000-"),
        ("/elsewhere/train.tar.gz", "bytes=1000-"),
    ]


def test_a_redirection_to_a_file_is_refused(server, fetch, tmp_path, target):
    (tmp_path / "secret").write_bytes(CONTENT)
    server.script = [lambda handler: handler.answer(302, Location=(tmp_path / "secret").as_uri())]
    with pytest.raises(InputError, match="302"):
        fetch()
    assert not target.exists()


def test_a_redirection_to_another_protocol_is_refused(server, fetch, monkeypatch):
    answer = urllib.response.addinfourl(io.BytesIO(CONTENT), {}, "ftp://host/train.tar.gz")
    monkeypatch.setattr(urllib.request.FTPHandler, "ftp_open", lambda handler, request: answer)
    server.script = [lambda handler: handler.answer(302, Location="ftp://host/train.tar.gz")]
    with pytest.raises(
        InputError, match=r"leads to ftp://host/train.tar.gz; give an http or https address"
    ):
        fetch()


# Never a wrong file under the right name


def test_wrong_bytes_are_removed_and_told(server, fetch, tmp_path):
    server.content = OTHER
    with pytest.raises(InputError) as caught:
        fetch()
    got = hashlib.sha256(OTHER).hexdigest()
    assert f"train.tar.gz.part: SHA-256 {got}, expected {ARCHIVE.sha256}; deleted." in str(
        caught.value
    )
    assert "give another --base-url" in str(caught.value)
    assert files_in(tmp_path) == []


def test_a_resumed_part_is_verified_from_its_first_byte(server, fetch, target, part, tmp_path):
    part.write_bytes(OTHER[:1000])
    with pytest.raises(InputError, match="deleted"):
        fetch()
    assert files_in(tmp_path) == []
    fetch()
    assert target.read_bytes() == CONTENT


def test_a_complete_but_wrong_part_is_removed(server, fetch, part):
    part.write_bytes(OTHER)
    with pytest.raises(InputError, match="deleted"):
        fetch()
    assert not part.exists()


def test_a_part_that_is_too_long_starts_over(server, fetch, target, part):
    part.write_bytes(OTHER + b"more")
    fetch()
    assert target.read_bytes() == CONTENT
    assert server.ranges() == [None]


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler: handler.answer(200, OTHER, Content_Length=SIZE + 1),
        lambda handler: handler.answer(200, OTHER[:5], Content_Length=5),
        lambda handler: handler.answer(206, OTHER, Content_Range=f"bytes 1000-{SIZE}/{SIZE + 1}"),
        lambda handler: handler.answer(204),
    ],
    ids=["longer", "shorter", "longer range", "nothing"],
)
def test_an_archive_of_another_size_is_refused_before_it_is_written(server, fetch, part, answer):
    part.write_bytes(CONTENT[:1000])
    server.script = [answer]
    with pytest.raises(
        InputError,
        match=r"/train.tar.gz: has [\d,]+ bytes, expected 300,000; give another --base-url",
    ):
        fetch()
    assert part.read_bytes() == CONTENT[:1000]


def test_no_more_than_the_expected_bytes_are_written(server, fetch, target):
    def never_end(handler):
        handler.answer(200, CONTENT)  # no length: until the connection ends
        while True:
            handler.wfile.write(OTHER)

    server.script = [never_end]
    fetch()
    assert target.read_bytes() == CONTENT


def test_a_range_that_sends_more_than_it_says_is_cut_to_size(server, fetch, target, part):
    part.write_bytes(CONTENT[:1000])
    server.script = [
        lambda handler: handler.answer(
            206, CONTENT[1000:] + OTHER, Content_Range=f"bytes 1000-{SIZE - 1}/*"
        )
    ]
    fetch()
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [OTHER, OTHER[:12]], ids=["bytes", "size"])
def test_a_wrong_file_stays_until_the_right_one_is_here(server, fetch, target, wrong):
    target.write_bytes(wrong)
    server.script = [status(404)]
    with pytest.raises(InputError, match="404"):
        fetch()
    assert target.read_bytes() == wrong
    printed, _ = fetch()
    assert f"{target}: {'12 bytes' if len(wrong) == 12 else 'SHA-256'}" in printed
    assert "it is kept until the right one is downloaded" in printed
    assert target.read_bytes() == CONTENT


def test_the_file_is_on_the_disk_before_it_gets_its_name(server, fetch, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda *args: (calls.append("fsync"), fsync(*args)))
    monkeypatch.setattr(os, "replace", lambda *args: (calls.append("replace"), replace(*args)))
    fetch()
    assert calls == ["fsync", "replace"]


# Room, rights, and other downloads

Usage = namedtuple("Usage", "free")


def test_space_is_asked_for_before_anything_is_fetched(server, fetch, part, monkeypatch):
    rest = 2_500_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(rest + download.RESERVE_BYTES - 1))
    with pytest.raises(
        InputError, match=r"needs 2.60 GB, 2.60 GB free there; free some, give another --to"
    ):
        fetch(Archive(rest, "0" * 64))
    part.write_bytes(b"?")  # one byte less to fetch, and it fits
    server.script = [status(404)]
    with pytest.raises(InputError, match="404"):
        fetch(Archive(rest, "0" * 64))
    assert len(server.requests) == 1


def test_a_complete_part_needs_no_space(server, fetch, target, part, monkeypatch):
    part.write_bytes(CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0))
    fetch()
    assert target.read_bytes() == CONTENT


def test_a_full_disk_is_one_line(server, fetch, part):
    part.symlink_to("/dev/full")  # which cannot be emptied, so the server answers with a range
    server.script = [
        lambda handler: handler.answer(206, CONTENT, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}")
    ]
    with pytest.raises(
        InputError,
        match=r"train.tar.gz.part: No space left on device; correct that, then run the same command",
    ):
        fetch()
    assert len(server.requests) == 1


def test_a_block_that_is_written_in_pieces_is_written_whole(part):
    class Piecemeal(io.FileIO):
        def write(self, block):
            return super().write(block[:999])

    with Piecemeal(part, "ab") as file:
        download._append(file, CONTENT)
    assert part.read_bytes() == CONTENT


def test_a_file_in_place_of_the_folder_is_refused(server, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(InputError, match="file: is a file; give a folder"):
        download.fetch_archives(path, {"train": ARCHIVE}, server.url, Console())


def test_a_folder_in_place_of_the_archive_is_refused_at_once(server, fetch, target):
    target.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        fetch()
    assert caught.value.filename == str(target)
    assert server.requests == []


def test_a_second_download_leaves_the_first_alone(server, fetch, part):
    part.write_bytes(CONTENT[:1000])
    with open(part, "ab") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"train.tar.gz.part: another download writes it"):
            fetch()
    assert part.read_bytes() == CONTENT[:1000]
    assert server.requests == []


def test_a_file_that_got_its_name_while_we_waited_is_not_written_to(
    server, fetch, target, part, monkeypatch
):
    part.write_bytes(CONTENT[:1000])
    monkeypatch.setattr(fcntl, "flock", lambda *args: os.replace(part, target))
    with pytest.raises(InputError, match="another download writes it"):
        fetch()
    assert target.read_bytes() == CONTENT[:1000]
    assert server.requests == []


def test_no_name_server_and_no_server_are_told(server, fetch, monkeypatch):
    def fail(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with socket.socket() as deaf:  # has its port, and does not listen
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match="Connection refused at 0"):
            fetch(url=f"http://127.0.0.1:{deaf.getsockname()[1]}")
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(
        InputError, match=r"Name or service not known at 0 .* check the network, the proxy"
    ):
        fetch(url="http://nowhere.invalid")


@pytest.mark.parametrize("url", ["http://a:b", "http://a..b", "http://[", "http://host/ä"])
def test_an_address_that_is_none_is_one_line(fetch, url):
    with pytest.raises(InputError, match="give another --base-url"):
        fetch(url=url)


def test_on_a_terminal_there_are_bytes_rate_and_time_left(server, fetch, monkeypatch):
    monkeypatch.setattr(download, "BLOCK_BYTES", 1000)
    printed, _ = fetch(terminal=True)
    assert "300.0/300.0 kB" in printed
    assert "B/s" in printed
    assert "0:00:00" in printed
    assert "verifying" in printed


# The command


@pytest.fixture
def sums(tmp_path):
    """A file of checksums beside the folder `raw` that the command is to fill."""
    path = tmp_path / "sums"
    path.write_text(f"{ARCHIVE.sha256} {SIZE} train.tar.gz\n{ARCHIVE.sha256} {SIZE} test.tar.gz\n")
    return path


def command(server, sums, *more):
    return [
        "--to",
        str(sums.parent / "raw"),
        "--base-url",
        server.url,
        "--checksums",
        str(sums),
        *more,
    ]


def start(arguments, before="", **env):
    """The command in a process of its own; `before` is run in it first. SIGINT may be ignored where tests run."""
    code = (
        "import os, resource, runpy, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{before}\nrunpy.run_module('svhn_jax.download', run_name='__main__')"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(download.__file__).parents[1])} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_bytes(process, path, count):
    while not path.exists() or path.stat().st_size < count:
        assert process.poll() is None, process.communicate()


def run_here(monkeypatch, capsys, *arguments):
    """Exit status, stdout and stderr of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["download", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_command(download.main)
    return caught.value.code, *capsys.readouterr()


def test_the_command_says_the_terms_once_and_a_line_for_each_archive(
    server, sums, monkeypatch, capsys
):
    status, out, err = run_here(monkeypatch, capsys, *command(server, sums))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("The SVHN data are for non-commercial use only. Y. Netzer")
    assert out.count("non-commercial") == 1
    assert [line.split(": ")[0] for line in lines[2::2]] == [
        f"{sums.parent}/raw/{name}.tar.gz" for name in ("train", "test")
    ]
    assert len(lines) == 5
    assert "\x1b" not in out
    status, out, _ = run_here(monkeypatch, capsys, *command(server, sums))
    assert status == 0
    assert out.count("is complete") == 2
    assert out.count("non-commercial") == 1
    assert len(server.requests) == 2


def test_only_the_splits_asked_for_are_fetched(server, sums, monkeypatch, capsys):
    status, _, _ = run_here(monkeypatch, capsys, *command(server, sums, "--splits", "test", "test"))
    assert status == 0
    assert server.requests == [("/test.tar.gz", None)]
    assert files_in(sums.parent / "raw") == ["test.tar.gz"]


def test_the_published_archives_are_expected_unless_told_otherwise(
    server, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1_000_000_000))
    status, _, err = run_here(monkeypatch, capsys, "--to", str(tmp_path), "--base-url", server.url)
    assert status == 1
    assert err == (
        f"error: {tmp_path}: needs 2.74 GB, 1.00 GB free there; free some, give another --to, or fewer --splits\n"
    )
    status, _, err = run_here(
        monkeypatch, capsys, "--to", str(tmp_path), "--base-url", server.url, "--splits", "test"
    )
    assert err == (
        f"error: {server.url}/test.tar.gz: has 300,000 bytes, expected 276,555,967; give another --base-url\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--base-url", "ftp://host/folder"),
            "--base-url is 'ftp://host/folder'; it must be an http:// or https://",
        ),
        (("--base-url", "file:///etc"), "--base-url is 'file:///etc'"),
        (("--base-url", "http://a host"), "--base-url is 'http://a host'"),
        (("--base-url", "http://"), "--base-url is 'http://'"),
        (("--splits", "extra"), "sums: names no extra.tar.gz"),
        (("--checksums", "nosuch"), "nosuch: No such file"),
        (("--to", "/sys/new"), "/sys/new: "),
        (("--to", "/sys"), "/sys/train.tar.gz.part: "),
        (("--to", sys.executable), "is a file"),
        (("--to", f"{sys.executable}/folder"), "Not a directory"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_and_status_1(
    server, sums, monkeypatch, capsys, arguments, words
):
    status, _, err = run_here(monkeypatch, capsys, *command(server, sums, *arguments))
    assert status == 1
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1
    assert server.requests == []


def test_an_unknown_split_is_refused(server, sums, monkeypatch, capsys):
    assert run_here(monkeypatch, capsys, *command(server, sums, "--splits", "valid"))[0] == 2
    assert server.requests == []


def test_proxies_of_the_environment_are_used(server, sums):
    arguments = command(
        server, sums, "--splits", "train", "--base-url", "http://nowhere.invalid/svhn/"
    )
    with start(arguments, http_proxy=server.url, no_proxy="") as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert server.requests == [("http://nowhere.invalid/svhn/train.tar.gz", None)]


def stopped_midway(server, sums, stop):
    """Starts a download that stalls at byte 1,000, stops it there, and returns its status, stderr and .part file."""
    server.script = [stall]
    part = sums.parent / "raw" / "train.tar.gz.part"
    with start(command(server, sums, "--splits", "train")) as process:
        wait_for_bytes(process, part, 1000)
        process.send_signal(stop)
        _, err = process.communicate()
    return process.returncode, err, part


@pytest.mark.parametrize(
    ("stop", "status", "words"),
    [
        (signal.SIGINT, 130, "error: interrupted\n"),
        (signal.SIGTERM, 143, "error: ended by SIGTERM\n"),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_a_stopped_download_goes_on_and_ends_with_the_same_bytes(
    server, sums, monkeypatch, capsys, stop, status, words
):
    assert stopped_midway(server, sums, stop)[:2] == (status, words)
    assert files_in(sums.parent / "raw") == ["train.tar.gz.part"]
    assert run_here(monkeypatch, capsys, *command(server, sums, "--splits", "train"))[0] == 0
    assert server.ranges() == [None, "bytes=1000-"]
    assert (sums.parent / "raw" / "train.tar.gz").read_bytes() == CONTENT
    assert files_in(sums.parent / "raw") == ["train.tar.gz"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_killed_at_the_end_it_ends_with_the_same_bytes(server, sums, monkeypatch, capsys, moment):
    arguments = command(server, sums, "--splits", "train")
    with start(
        arguments, before=f"os.{moment} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)"
    ) as process:
        process.communicate()
    assert process.returncode == -9
    assert files_in(sums.parent / "raw") == ["train.tar.gz.part"]
    assert run_here(monkeypatch, capsys, *arguments)[0] == 0
    assert (sums.parent / "raw" / "train.tar.gz").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_what_a_disk_took_before_it_was_full_is_used(server, sums, monkeypatch, capsys):
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    arguments = command(server, sums, "--splits", "train")
    with start(arguments, before=limit) as process:
        _, err = process.communicate()
    assert process.returncode == 1
    assert (
        "train.tar.gz.part: File too large; correct that, then run the same command again to resume at 100,000 bytes\n"
        in err
    )
    assert err.count("\n") == 1
    assert run_here(monkeypatch, capsys, *arguments)[0] == 0
    assert server.ranges() == [None, "bytes=100000-"]
    assert (sums.parent / "raw" / "train.tar.gz").read_bytes() == CONTENT


def test_of_two_downloads_to_a_folder_the_first_ends_well(server, sums, monkeypatch, capsys):
    server.script = [stall]
    arguments = command(server, sums, "--splits", "train")
    part = sums.parent / "raw" / "train.tar.gz.part"
    with start(arguments) as first:
        wait_for_bytes(first, part, 1000)
        status, _, err = run_here(monkeypatch, capsys, *arguments)
        server.released.set()
        _, first_err = first.communicate()
    assert (status, err.count("\n")) == (1, 1)
    assert "another download writes it" in err
    assert (first.returncode, first_err) == (0, "")
    assert (sums.parent / "raw" / "train.tar.gz").read_bytes() == CONTENT
    assert len(server.requests) == 1
