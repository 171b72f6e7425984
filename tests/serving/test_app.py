"""The server over HTTP, with a reader that takes no time: answers, and who is refused."""

import base64
import hashlib
import json
import re
import socket
import struct

import pytest
from serving_material import exchange, in_thread, picture, running, wait_for_requests


@pytest.fixture(scope="module")
def served():
    with running() as server:
        yield server


def test_a_photo_is_found_and_read(served):
    answer = served.read(picture(40, 20))
    assert (answer.status, answer.headers["content-type"]) == (
        200,
        "application/json; charset=utf-8",
    )
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


@pytest.mark.parametrize(
    "query",
    [
        "?left=1",
        "?left=1&top=2&width=3&height=x",
        "?path=/etc",
        "?whole&left=1",
        "?whole=false",
        "?left=1&left=2&top=2&width=3&height=4",
        "?left=1_0&top=2&width=3&height=4",
    ],
)
def test_other_options_are_refused(served, query):
    answer = served.read(picture(), query)
    assert (answer.status, list(answer.json)) == (400, ["error"])


def test_a_form_is_refused_with_the_remedy(served):
    answer = served.read(b"--x", Content_Type="multipart/form-data; boundary=x")
    assert (answer.status, "--data-binary" in answer.json["error"]) == (400, True)


def test_the_size_and_the_pixels_are_those_of_the_upright_photo(served):
    turned = picture(
        40,
        20,
        "JPEG",
        exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
    )
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


@pytest.mark.parametrize(
    "path",
    ["/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/page.html", "/static/page.html", "/.git/config",
     "/svhn_jax/serve.py", "/..%5c..%5cetc/passwd", "/read/../../etc/passwd", "/health/", "/?/../etc/passwd%00"],
)  # fmt: skip
def test_no_file_is_served(served, path):
    answer = exchange(
        served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
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


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example", "10.0.0.1"]
)
def test_dns_rebinding_is_refused(served, host):
    before = len(served.reader.seen)
    for method, path, body in (
        ("GET", "/", None),
        ("GET", "/health", None),
        ("POST", "/read", picture()),
    ):
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


@pytest.mark.parametrize(
    "host", ["photos.example.com:8443", "127.0.0.1:8000"]
)  # a proxy keeps the name, or does not
def test_a_proxy_may_have_another_name(host):
    with running(public_name="photos.example.com:8443") as server:
        own = {
            "Host": host,
            "Origin": "https://photos.example.com:8443",
            "Sec_Fetch_Site": "same-origin",
        }
        assert server.ask("GET", "/", Host=host).status == 200
        assert server.read(picture(), **own).status == 200
        assert (
            server.read(picture(), **own | {"Origin": "https://photos.example.com"}).status == 403
        )
        assert server.read(picture(), **own | {"Host": "evil.example"}).status == 421


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
    for name in (
        "x-content-type-options",
        "referrer-policy",
        "cross-origin-resource-policy",
        "cache-control",
    ):
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


def test_where_the_server_ends_open_requests_are_told():
    with running() as server:
        server.reader.gate.clear()
        thread, answers = in_thread(lambda: server.read(picture()))
        wait_for_requests(server, 1)
    thread.join()
    assert (answers[0].status, answers[0].json) == (503, {"error": "the server is ending"})


def test_an_error_of_the_server_names_no_details(caplog):
    with running() as server:
        server.reader.read = lambda photo, box: 1 / 0
        answer = server.read(picture())
        assert (answer.status, answer.json["error"]) == (
            500,
            "an error of the server; its terminal has the details",
        )
        assert "ZeroDivisionError" in caplog.text
        wait_for_requests(server, 0)
