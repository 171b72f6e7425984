"""The command svhn_jax.serve, run as a user runs it, with a tiny run."""

import json
import signal
import subprocess
import sys

import httpx
import pytest
from tiny import save_run

from svhn_jax import cli, serve
from svhn_jax.data.synthetic import render
from svhn_jax.inference.photo_reader import PhotoReader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    save_run(folder)
    return folder / "run"


def test_it_reads_as_the_photo_reader_does_and_ends_on_a_signal(run, tmp_path, one_device_env):
    path = tmp_path / "photo.png"
    render.render(render.photo_rng(0, "test", 1), "test").photo.save(path)
    command = [sys.executable, "-m", "svhn_jax.serve", "--run", str(run), "--port", "0"]
    with subprocess.Popen(
        [*command, "--json", "--host", "0.0.0.0"],
        env=one_device_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        address = json.loads(process.stdout.readline())["address"]
        reader = PhotoReader(str(run))
        for query, box in (("whole", "whole"), ("left=3&top=2&width=20&height=15", (3, 2, 20, 15))):
            answer = httpx.post(f"{address}/read?{query}", content=path.read_bytes(), timeout=120)
            expected = reader.read(path, box)
            assert (answer.status_code, answer.json()["reading"]) == (200, expected.number)
            assert answer.json()["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        outside = "left=5000&top=2&width=20&height=15"
        answer = httpx.post(f"{address}/read?{outside}", content=path.read_bytes(), timeout=120)
        assert (answer.status_code, "outside" in answer.json()["error"]) == (422, True)
        assert "Read a house number" in httpx.get(address).text
        health = {"status": "ok", "photos_read": 2}
        assert httpx.get(f"{address}/health").json() == health
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "warning: --host 0.0.0.0" in errors


@pytest.mark.parametrize(
    ("options", "word"),
    [(("--host", "no.such.invalid"), "--host no.such.invalid"), (("--host", "192.0.2.1"), "--host"),
     (("--run", "nowhere", "--port", "0"), "nowhere"), (("--port", "99999"), "--port"),
     (("--public-name", "https://a.example"), "--public-name")],
)  # fmt: skip
def test_bad_options_are_one_line(capfd, options, word):
    assert cli.call(serve.Options, serve.main, options) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert word in error
    assert error.count("\n") == 1


def test_a_port_in_use_is_one_line(capfd):
    with serve._listening("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert cli.call(serve.Options, serve.main, ("--port", str(port))) == 1
    assert f"--port {port}: Address already in use" in capfd.readouterr().err
