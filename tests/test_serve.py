"""The command svhn_jax.serve, run as a user runs it, with a tiny run."""

import http.client
import json
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from PIL import Image
from tiny import save_run

from svhn_jax.data.synthetic import render

COMMAND = (sys.executable, "-m", "svhn_jax.serve")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    save_run(folder)
    return folder / "run"


@pytest.fixture(scope="module")
def server(run, one_device_env):
    """The address of a server, and its process."""
    command = [*COMMAND, "--run", str(run), "--port", "0", "--json"]
    with subprocess.Popen(
        command, env=one_device_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield json.loads(process.stdout.readline())["address"], process
        process.kill()


def ask(address, method, path, body=None):
    with closing(
        http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
    ) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def photo_file(path):
    rendering = render.render(render.photo_rng(0, "test", 1), "test")
    rendering.photo.save(path)
    return path


def test_it_reads_as_the_photo_reader_does(server, run, tmp_path):
    from svhn_jax.inference.photo_reader import PhotoReader

    address, _ = server
    path = photo_file(tmp_path / "photo.png")
    reader = PhotoReader(str(run))
    for query, box in (("?whole", "whole"), ("?left=3&top=2&width=20&height=15", (3, 2, 20, 15))):
        status, body = ask(address, "POST", "/read" + query, path.read_bytes())
        answer, expected = json.loads(body), reader.read(path, box)
        assert (status, answer["reading"]) == (200, expected.number)
        assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        assert answer["digits"] == pytest.approx(expected.digits, abs=1e-5)
        with Image.open(path) as image:
            assert (answer["width"], answer["height"]) == image.size
    status, body = ask(
        address, "POST", "/read?left=5000&top=2&width=20&height=15", path.read_bytes()
    )
    assert (status, list(json.loads(body))) == (422, ["error"])
    assert "outside" in json.loads(body)["error"]


def test_it_has_the_page_and_tells_its_health(server):
    address, _ = server
    status, page = ask(address, "GET", "/")
    assert (status, b"Read a house number" in page) == (200, True)
    status, health = ask(address, "GET", "/health")
    assert (status, json.loads(health)["status"]) == (200, "ok")


def test_a_port_in_use_is_one_line(server, run, one_device_env):
    port = server[0].rpartition(":")[2]
    done = subprocess.run(
        [*COMMAND, "--run", str(run), "--port", port],
        env=one_device_env,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (
        1,
        f"error: --port {port} is in use; give another one, or 0 for any free one\n",
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--host", "no.such.invalid"), "no such name or address"), (("--host", "192.0.2.1"), "not an address of this machine"),
     (("--run", "nowhere", "--port", "0"), "nowhere"), (("--port", "99999"), "0 to 65535"),
     (("--public-name", "https://a.example"), "a name such as")],
)  # fmt: skip
def test_bad_options_are_one_line(one_device_env, options, words):
    done = subprocess.run([*COMMAND, *options], env=one_device_env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_warns_where_others_can_reach_it_and_ends_with_one_line(run, one_device_env, number):
    command = [*COMMAND, "--run", str(run), "--port", "0", "--host", "0.0.0.0"]
    with subprocess.Popen(
        command, env=one_device_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "ended after 0 photos\n")
    assert errors.startswith("warning: --host 0.0.0.0: any machine")
    assert errors.count("\n") == 1
