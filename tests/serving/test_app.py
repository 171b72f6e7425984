"""The server over HTTP, with a reader that takes no time: answers, and who is refused."""

import base64
import hashlib
import io
import re

import pytest
from PIL import Image
from serving_material import picture, running, turned

from svhn_jax.serving import app, decoding


@pytest.fixture(scope="module")
def served():
    with running() as server:
        yield server


def refused(answer, status, word):
    """Whether an answer is one line of JSON with that status, which holds the word."""
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert word in answer.json()["error"]
    assert answer.json()["error"].isprintable()
    return True


def test_a_photo_is_found_and_read(served):
    answer = served.read(picture(40, 20))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
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
    assert answer.json()["check"]  # 0.5 is below 0.9
    for query in ("?whole", "?whole=1", "?whole&preview"):
        assert served.read(picture(), query).json()["box"] is None
        assert served.reader.seen[-1][1] == "whole"


@pytest.mark.parametrize(
    "query",
    ["?left=1", "?left=1&top=2&width=3&height=x", "?path=/etc", "?whole&left=1"],
)  # fmt: skip
def test_other_options_are_refused(served, query):
    assert refused(served.read(picture(), query), 400, "left, top, width and height")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_preview_shows_the_photo_that_the_reader_read(served, format, orientation):
    image = Image.linear_gradient("L").resize((1000, 1000)).crop((0, 0, 1000, 500)).convert("RGB")
    answer = served.read(turned(image, orientation, format), "?preview").json()
    photo, _ = served.reader.seen[-1]
    kind, data = answer["preview"].split(",")
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == "data:image/jpeg;base64"
    assert shown.size == photo.size == (answer["width"], answer["height"])
    for place in ((10, 10), (photo.width - 10, photo.height - 10)):
        assert shown.getpixel(place)[0] == pytest.approx(photo.getpixel(place)[0], abs=4)


def test_a_preview_is_reduced(served):
    answer = served.read(picture(3000, 1500, "TIFF"), "?preview").json()
    content = base64.b64decode(answer["preview"].split(",")[1])
    assert (answer["width"], answer["height"]) == (3000, 1500)
    assert Image.open(io.BytesIO(content)).size == (decoding.PREVIEW_SIDE, 800)


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"no picture", "image"), (b"<svg xmlns='a'/>", "image"),
     (picture()[:60], "image"), (b"P6 10000 10000 255\n", "pixels")],
)  # fmt: skip
def test_a_file_that_is_no_photo_gets_one_line(served, content, word):
    assert refused(served.read(content), 422, word)
    assert served.read(picture()).status_code == 200


def test_too_many_bytes_and_forms_are_refused(served, monkeypatch):
    form = "multipart/form-data; boundary=x"
    assert refused(served.read(b"--x", Content_Type=form), 400, "--data-binary")
    monkeypatch.setattr(app, "MAX_BYTES", 1000)
    assert refused(served.read(bytes(1001)), 413, "1,000 bytes")
    assert served.read(picture()).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/read", 405), ("PUT", "/read", 405), ("OPTIONS", "/read", 405), ("POST", "/", 405),
     ("GET", "/page.html", 404), ("GET", "//etc/passwd", 404), ("GET", "/%2e%2e/etc/passwd", 404)],
)  # fmt: skip
def test_other_methods_and_addresses_are_refused(served, method, path, status):
    answer = served.ask(method, path)
    assert refused(answer, status, {404: "Not Found", 405: "Not Allowed"}[status])
    assert "access-control-allow-origin" not in answer.headers


def test_dns_rebinding_is_refused(served):
    before = len(served.reader.seen)
    for method, path in (("GET", "/"), ("GET", "/health"), ("POST", "/read"), ("GET", "/x")):
        for host in ("evil.example", "localhost.evil.example", "10.0.0.1"):
            assert refused(served.ask(method, path, picture(), Host=host), 421, "--public-name")
    assert len(served.reader.seen) == before


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}],
)
def test_photos_from_other_sites_are_refused(served, headers):
    before = len(served.reader.seen)
    assert refused(served.read(picture(), **headers), 403, "another web site")
    assert len(served.reader.seen) == before


def test_a_proxy_may_have_another_name():
    name = "photos.example.com:8443"
    own = {"Host": name, "Origin": f"https://{name}"}
    with running(name) as server:
        assert server.ask("GET", "/", Host=name).status_code == 200
        assert server.read(picture(), **own).status_code == 200
        assert server.read(picture(), **own | {"Host": "127.0.0.1"}).status_code == 200
        others = own | {"Origin": "https://photos.example.com"}
        assert server.read(picture(), **others).status_code == 403


def test_the_page_allows_its_own_script_and_style_and_no_other(served):
    answer = served.ask("GET", "/")
    page, policy = answer.text, answer.headers["content-security-policy"]
    for name in ("script", "style"):
        [text] = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?://|@import|<link rel=.stylesheet| on[a-z]+=| style=", page)
    assert f'data-most-bytes="{app.MAX_BYTES}"' in page
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_error_of_the_server_names_no_details(served, monkeypatch):
    monkeypatch.setattr(served.reader, "read", lambda photo, box: 1 / 0)
    assert refused(served.read(picture()), 500, "terminal has the details")
