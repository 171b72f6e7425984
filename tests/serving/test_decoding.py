"""The process that decodes photos: what it answers, and that it can be lost."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from serving_material import picture, saved

from svhn_jax.serving import decoding
from svhn_jax.serving.decoding import Decoder


@pytest.fixture
def decoder():
    one = Decoder()
    yield one
    one.close()


def test_it_gives_the_pixels(decoder):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    photo = decoder.decode(saved(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(np.asarray(photo), pixels)


def crash(content):
    os.abort()


def hang(content):
    time.sleep(60)


@pytest.mark.parametrize("process", [crash, hang])
def test_a_photo_that_crashes_or_hangs_is_one_line_and_the_next_is_read(
    decoder, monkeypatch, process
):
    with monkeypatch.context() as patched:
        patched.setattr(decoding.photos, "decode_photo", process)
        patched.setattr(decoding, "DECODE_S", 5)
        with pytest.raises(ValueError, match="cannot be decoded"):
            decoder.decode(picture())
    assert decoder.decode(picture(8, 9)).size == (8, 9)


def test_it_needs_no_jax():
    code = "import sys, svhn_jax.serving.app\nsys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
