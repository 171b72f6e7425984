"""What one request may cost: bytes, pixels, time, places, memory."""

import gc
import json
import socket
import struct
import tracemalloc
import zlib

import pytest
from serving_material import (
    exchange,
    head,
    in_thread,
    picture,
    running,
    wait_for,
    wait_for_requests,
)

from svhn_jax.serving.limits import Limits


def is_answering(server):
    """Whether the server takes a connection."""
    try:
        return server.ask("GET", "/health").status == 200
    except OSError:
        return False


def test_a_picture_of_too_many_pixels_is_refused_unread():
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0))
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(10**6), 9))
        + chunk(b"IEND", b"")
    )
    huge = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    )
    with running() as server:
        answer = server.read(bomb)
        assert (answer.status, answer.json["error"]) == (
            422,
            "8000 x 8000 pixels; at most 52,000,000 are read",
        )
        assert server.read(huge).status == 422


def test_too_many_bytes():
    with running(Limits(bytes=1000)) as server:
        answer = server.read(bytes(5000))
        assert (answer.status, answer.json["error"]) == (
            413,
            "the photo has 5,000 bytes; at most 1,000 are read",
        )
        early = exchange(server, head(server, 10**12))  # answered at once: it is not received
        assert b"413" in early.split(b"\r\n")[0]
        assert early.count(b"HTTP/1.1") == 1
        assert server.ask("POST", "/read", iter([b"of unknown length"])).status == 411
        assert server.read(picture()).status == 200
        wait_for_requests(server, 0)  # a place is given back after the answer


def test_a_slow_upload_ends():
    with running(Limits(upload_s=0.3)) as server:
        answer = exchange(server, head(server, 1000), then=b"only the start")
        assert b"408" in answer.split(b"\r\n")[0]
        assert json.loads(answer.split(b"\r\n\r\n")[1]) == {
            "error": "the photo did not arrive within 0.3 s"
        }
        assert exchange(server, b"GET / HT") == b""  # nor does a slow header stay
        wait_for_requests(server, 0)
        assert server.read(picture()).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400],
    ids=["a body that never comes", "answers that nobody takes"],
)  # fmt: skip
def test_no_client_keeps_a_connection(request_bytes):
    with (
        running(Limits(upload_s=0.5, connections=1)) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(request_bytes)
        wait_for(lambda: is_answering(server))


def test_where_all_places_are_taken_others_are_told_when_to_try_again():
    with running(Limits(requests=2)) as server:
        server.reader.gate.clear()
        waiting = [in_thread(lambda: server.read(picture())) for _ in range(2)]
        wait_for_requests(server, 2)
        refused = server.read(picture())
        assert (refused.status, refused.headers["retry-after"]) == (503, "3")
        assert "try again" in refused.json["error"]
        assert server.ask("GET", "/health").json["requests"] == 2
        server.reader.gate.set()
        for thread, answers in waiting:
            thread.join()
            assert answers[0].status == 200
        assert server.read(picture()).status == 200


def test_the_waiting_photos_have_a_limit_of_bytes_together():
    content = picture()
    with running(Limits(waiting_bytes=len(content) + 10)) as server:
        server.reader.gate.clear()
        thread, answers = in_thread(lambda: server.read(content))
        wait_for_requests(server, 1)
        assert server.read(content).status == 503
        server.reader.gate.set()
        thread.join()
        assert answers[0].status == 200


def test_bytes_count_when_they_have_arrived():
    content = picture()
    with running(Limits(bytes=1000, waiting_bytes=1000)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head(server, 1000))  # only announced
            wait_for_requests(server, 1)
            assert server.read(content).status == 200
            connection.sendall(bytes(1000 - len(content) + 1))
            wait_for(lambda: server.worker._bytes > 0)
            assert server.read(content).status == 503
        wait_for_requests(server, 0)
        assert server.worker._bytes == 0


def test_a_photo_that_waits_too_long_is_given_up_but_keeps_its_place_while_it_is_read():
    with running(Limits(wait_s=0.2)) as server:
        server.reader.gate.clear()
        assert server.read(picture()).status == 503
        assert server.worker.requests == 1
        server.reader.gate.set()
        wait_for_requests(server, 0)


def test_the_photo_of_a_client_that_has_gone_is_not_read():
    with running() as server:
        server.reader.gate.clear()
        others = [
            in_thread(lambda: server.read(picture())) for _ in range(2)
        ]  # one is read, the next is decoded
        wait_for_requests(server, 2)
        content = picture()
        with socket.create_connection(("127.0.0.1", server.port)) as gone:
            gone.sendall(head(server, len(content)) + content)
            wait_for_requests(server, 3)
        wait_for_requests(server, 2)
        server.reader.gate.set()
        for thread, _ in others:
            thread.join()
        wait_for_requests(server, 0)
        assert len(server.reader.seen) == 2


def test_connections_have_a_limit():
    with running(Limits(connections=2)) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        for one in idle:  # an answer shows that the server has taken the connection
            one.sendall(f"GET /health HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode())
            assert one.recv(100).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):  # noqa: PT011 -- reset or closed, as the kernel has it
            server.ask("GET", "/health")
        for one in idle:
            one.close()
        wait_for(lambda: is_answering(server))


def test_no_photo_is_kept():
    content = picture(1000, 700, "BMP")  # 2.1 MB
    with running() as server:
        server.read(content)
        tracemalloc.start()
        for _ in range(10):
            assert server.read(content).status == 200
        wait_for_requests(server, 0)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept < 1_000_000
