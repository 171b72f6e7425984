"""HEIC photos, which the package pillow-heif reads."""

import io
import sys

import numpy as np
import pillow_heif
import pytest
from archives import upright
from PIL import Image

from svhn_jax.data import photos
from svhn_jax.data.photos import decode_photo


def heic(image, **options):
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=90, **options)
    return stream.getvalue()


def half_white(mode="RGB"):
    return Image.open(io.BytesIO(upright("PNG"))).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_heic_is_read_whatever_its_name_says(mode):
    content = heic(half_white(mode))
    image = decode_photo(content)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert photos.photo_size(content) == (40, 20)
    assert np.asarray(image)[:, :15].min() > 200
    assert np.asarray(image)[:, 25:].max() < 50


def test_transparent_pixels_of_a_heic_are_white():
    image = half_white("RGBA")
    image.putalpha(0)
    assert np.asarray(decode_photo(heic(image))).min() > 250


def test_a_heic_lying_on_its_side_is_turned_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = heic(half_white(), exif=exif.tobytes())
    for marker in (b"irot", b"Exif"):
        assert marker in content
    image = decode_photo(content)
    assert image.size == photos.photo_size(content) == (20, 40)
    assert np.asarray(image)[:15].min() > 200
    assert np.asarray(image)[25:].max() < 50


def test_exif_of_a_heic_that_cannot_be_understood_counts_as_absent():
    content = heic(half_white(), exif=b"Exif\0\0MM\0*junk")
    content = content.replace(b"MM\0*junk", b"junkjunk")
    assert decode_photo(content).size == photos.photo_size(content) == (40, 20)


def test_more_than_8_bits_a_channel_are_scaled():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    pixels = np.broadcast_to(ramp[None, :, None], (64, 64, 3)).copy()
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), pixels.tobytes()).save(stream, quality=95)
    np.testing.assert_allclose(
        np.asarray(decode_photo(stream.getvalue()))[32, :, 1], ramp / 257, atol=6
    )


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (decode_photo, photos.photo_size):
        with pytest.raises(ValueError, match=r"pip install 'svhn_jax\[heic\]'"):
            read(heic(half_white()))
    content = upright("AVIF")  # stays Pillow's, whatever its first brand
    for brand in (b"avif", b"mif1"):
        assert decode_photo(content[:8] + brand + content[12:]).size == (40, 20)


def test_damaged_and_large_heic_are_refused(monkeypatch):
    content = heic(half_white())
    for bad in (content[: len(content) // 2], content[:40], content[:8] + b"mif1" + bytes(40)):
        with pytest.raises(ValueError, match="damaged image"):
            decode_photo(bad)
    monkeypatch.setattr(photos, "MAX_PHOTO_PIXELS", 799)
    for read in (decode_photo, photos.photo_size):
        with pytest.raises(ValueError, match="40 x 20 pixels, more than 799"):
            read(content)
