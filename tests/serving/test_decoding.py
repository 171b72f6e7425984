"""The process that decodes photos: what it answers, and that it can be lost."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image
from serving_material import picture

from svhn_jax.serving.decoding import Decoder
from svhn_jax.serving.limits import Limits, Refusal


@pytest.fixture
def decoder():
    one = Decoder(Limits())
    yield one
    one.close()


def test_it_gives_the_pixels_of_decode_photo(decoder):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    for _ in range(2):  # the second from the same process
        photo = decoder.photo(file.getvalue())
        assert photo.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(photo), pixels)


def test_a_photo_that_takes_too_long_is_given_up_and_the_next_is_read(decoder):
    decoder._limits = Limits(decode_s=0.02)
    with pytest.raises(Refusal, match="takes more than") as refused:
        decoder.photo(picture(7000, 7000))
    assert refused.value.status == 422
    decoder._limits = Limits()
    assert decoder.photo(picture(40, 20)).size == (40, 20)
    decoder.close()


def test_the_process_is_started_again_where_it_was_killed(decoder):
    decoder.photo(picture())
    decoder._process.kill()
    decoder._process.wait()
    assert decoder.photo(picture(8, 9)).size == (8, 9)


def test_a_process_that_dies_on_a_photo_is_one_line(decoder, monkeypatch):
    decoder.photo(picture())
    start, killed = decoder._running, []

    def start_and_kill(pixels):
        process = start(pixels)
        process.kill()
        killed.append(process)
        return process

    monkeypatch.setattr(decoder, "_running", start_and_kill)
    with pytest.raises(Refusal, match="cannot be decoded"):
        decoder.photo(picture())
    assert len({*killed}) == 2


def test_a_process_that_died_after_the_last_photo_costs_nothing(decoder, monkeypatch):
    decoder.photo(picture())
    monkeypatch.setattr(decoder._process, "poll", lambda: None)  # it dies after the look
    decoder._process.kill()
    assert decoder.photo(picture(8, 9)).size == (8, 9)


def test_an_answer_of_more_bytes_than_a_photo_can_have_is_not_taken(decoder):
    answer = """print('{"bytes": 1000000000000000}')"""
    decoder._process = subprocess.Popen(
        [sys.executable, "-c", answer + "; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert decoder.photo(picture(8, 9)).size == (8, 9)  # of the next process


def test_a_closed_decoder_starts_no_process(decoder):
    decoder.photo(picture())
    decoder.close()
    with pytest.raises(Refusal, match="ending"):
        decoder.photo(picture())
    assert not decoder._process


def test_limits_of_pixels_memory_and_files(tmp_path):
    decoder = Decoder(Limits(pixels=1000))
    with pytest.raises(Refusal, match="200 x 100 pixels; at most 1,000 are read") as refused:
        decoder.photo(picture(200, 100))
    assert refused.value.status == 422
    decoder.close()
    code = "from svhn_jax.serving import decoding\ndecoding._limit_this_process()\nbytes(3 * 2**30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MemoryError" in done.stderr
    code = "from svhn_jax.serving import decoding\ndecoding._limit_this_process()\nwith open('x', 'w') as f: f.write('x')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert "File too large" in done.stderr


def test_it_needs_no_jax():
    code = "import sys, svhn_jax.serving.app, svhn_jax.serving.decoding\nsys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
