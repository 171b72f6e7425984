"""The server over HTTP, with a reader that takes no time: answers, limits, and who is refused."""

import base64
import gc
import hashlib
import json
import re
import socket
import struct
import threading
import time
import tracemalloc
import zlib

import pytest
from serving_material import picture, running

from svhn_jax.serving.limits import Limits


@pytest.fixture(scope="module")
def served():
    with running() as server:
        yield server


def exchange(server, request, *, then=b""):
    """The raw answer to raw bytes on a new connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request + then)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def head(server, length, *, path="/read"):
    return f"POST {path} HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: {length}\r\n\r\n".encode()


def wait_for_requests(server, count):
    """Waits until that many photos are in the server."""
    while server.worker.requests != count:
        time.sleep(0.01)


def in_thread(work):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


def test_a_photo_is_found_and_read(served):
    answer = served.read(picture(40, 20))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json == {
        "reading": "42",
        "confidence": 0.97,
        "digits": [0.99, 0.98],
        "length_p": 0.995,
        "box": {"left": 10, "top": 5, "width": 20, "height": 10},
        "found": 0.8,
        "check": False,
        "min_confidence": 0.9,
        "width": 40,
        "height": 20,
    }


def test_a_box_and_whole_reach_the_reader(served):
    answer = served.read(picture(), "?left=1.5&top=2&width=3&height=4")
    assert served.reader.seen[-1][1] == (1.5, 2.0, 3.0, 4.0)
    assert answer.json["check"]  # 0.5 is below 0.9
    for query in ("?whole", "?whole=1"):
        assert served.read(picture(), query).json["box"] is None
        assert served.reader.seen[-1][1] == "whole"


@pytest.mark.parametrize("query", ["?left=1", "?left=1&top=2&width=3&height=x", "?path=/etc", "?whole&left=1"])
def test_other_options_are_refused(served, query):
    answer = served.read(picture(), query)
    assert (answer.status, list(answer.json)) == (400, ["error"])


def test_the_size_and_the_pixels_are_those_of_the_upright_photo(served):
    turned = picture(40, 20, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    answer = served.read(turned).json
    assert (answer["width"], answer["height"]) == (20, 40)
    assert served.reader.seen[-1][0] == (20, 40)


def test_a_preview_is_a_jpeg_for_formats_that_browsers_cannot_show(served):
    answer = served.ask("POST", "/preview", picture(3000, 1500, "TIFF"))
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.body[:2] == b"\xff\xd8"
    assert struct.pack(">HH", 800, 1600) in answer.body
    assert served.ask("POST", "/preview?left=1", picture()).status == 400


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "no photo"),
        (b"no picture", 422, "not a readable image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "not a readable image"),
        (picture()[:60], 422, "damaged image"),
    ],
)
def test_what_is_no_photo_gets_one_line(served, content, status, words):
    answer = served.read(content)
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert words in answer.json["error"]
    assert answer.json["error"].isprintable()


def test_a_picture_of_too_many_pixels_is_refused_unread(served):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6), 9)) + chunk(b"IEND", b"")
    answer = served.read(bomb)
    assert (answer.status, answer.json["error"]) == (413, "8000 x 8000 pixels; at most 52,000,000 are read")
    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    assert served.read(huge).status == 422


def test_too_many_bytes():
    with running(Limits(bytes=1000)) as server:
        answer = server.read(bytes(5000))
        assert (answer.status, answer.json["error"]) == (413, "the photo has 5,000 bytes; at most 1,000 are read")
        assert b"413" in exchange(server, head(server, 10**12)).split(b"\r\n")[0]  # at once: it is not received
        assert server.ask("POST", "/read", iter([b"of unknown length"])).status == 411
        assert server.read(picture()).status == 200
        assert server.worker.requests == 0


def test_a_slow_upload_ends():
    with running(Limits(upload_s=0.3)) as server:
        answer = exchange(server, head(server, 1000), then=b"only the start")
        assert b"408" in answer.split(b"\r\n")[0]
        assert json.loads(answer.split(b"\r\n\r\n")[1]) == {"error": "the photo did not arrive within 0.3 s"}
        assert exchange(server, b"GET / HT") == b""  # nor does a slow header stay
        wait_for_requests(server, 0)
        assert server.read(picture()).status == 200


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
        others = [in_thread(lambda: server.read(picture())) for _ in range(2)]  # one is read, the next is decoded
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
        while True:
            try:
                assert server.ask("GET", "/health").status == 200
                break
            except OSError:
                time.sleep(0.01)


@pytest.mark.parametrize(
    "path",
    ["/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/page.html", "/static/page.html", "/.git/config",
     "/svhn_jax/serve.py", "/..%5c..%5cetc/passwd", "/read/../../etc/passwd", "/health/", "/?/../etc/passwd%00"],
)  # fmt: skip
def test_no_file_is_served(served, path):
    answer = exchange(served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    if path.startswith("/?"):
        assert b"Read a house number" in answer
    else:
        assert b" 404 " in answer.split(b"\r\n")[0]
        assert json.loads(answer.split(b"\r\n\r\n")[1])["error"].startswith("no such address")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/read", 405), ("PUT", "/read", 405), ("OPTIONS", "/read", 405), ("POST", "/", 405), ("POST", "/health", 405),
     ("FOO", "/read", 405), ("GET", "/preview", 405), ("DELETE", "/nowhere", 404)],
)  # fmt: skip
def test_other_methods_are_refused(served, method, path, status):
    answer = served.ask(method, path, b"x")
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example", "10.0.0.1"])
def test_dns_rebinding_is_refused(served, host):
    before = len(served.reader.seen)
    for method, path, body in (("GET", "/", None), ("GET", "/health", None), ("POST", "/read", picture())):
        answer = served.ask(method, path, body, Host=host)
        assert (answer.status, list(answer.json)) == (421, ["error"])
    assert len(served.reader.seen) == before


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
def test_photos_from_other_sites_are_refused(served, headers):
    before = len(served.reader.seen)
    answer = served.read(picture(), **headers)
    assert (answer.status, list(answer.json)) == (403, ["error"])
    assert len(served.reader.seen) == before


def test_the_own_page_may_send_photos(served):
    own = {"Origin": f"http://127.0.0.1:{served.port}", "Sec_Fetch_Site": "same-origin"}
    assert served.read(picture(), **own).status == 200


def test_the_page_allows_its_own_script_and_style_and_no_other(served):
    answer = served.ask("GET", "/")
    page, policy = answer.body.decode(), answer.headers["content-security-policy"]
    for name in ("script", "style"):
        [text] = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not re.search(r"https?://|@import|<link rel=.stylesheet| on[a-z]+=| style=", page)
    assert f'data-most-bytes="{2**25}"' in page
    for name in ("x-content-type-options", "referrer-policy", "cross-origin-resource-policy", "cache-control"):
        assert name in answer.headers
    assert served.ask("HEAD", "/").status == 200


def test_malformed_requests_do_no_harm(served):
    for request in (
        b"GARBAGE\r\n\r\n",
        b"\x00" * 70000,
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    wait_for_requests(served, 0)
    assert served.read(picture()).status == 200


def test_an_error_of_the_server_names_no_details(caplog):
    with running() as server:
        server.reader.read = lambda photo, box: 1 / 0
        answer = server.read(picture())
        assert (answer.status, answer.json["error"]) == (500, "an error of the server; its terminal has the details")
        assert "ZeroDivisionError" in caplog.text
        wait_for_requests(server, 0)


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
