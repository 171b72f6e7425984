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


def is_half_white(content, size=(40, 20)):
    """Whether the photo is read whole, its first half white, turned to `size` if need be."""
    image = decode_photo(content)
    assert (image.mode, image.size, photos.photo_size(content)) == ("RGB", size, size)
    pixels = np.asarray(image) if size == (40, 20) else np.asarray(image).swapaxes(0, 1)
    return pixels[:, :15].min() > 200 and pixels[:, 25:].max() < 50


def test_a_heic_is_read_and_turned_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert is_half_white(heic(half_white("L")))
    assert is_half_white(heic(half_white(), exif=exif.tobytes()), (20, 40))
    junk = heic(half_white(), exif=b"Exif\0\0MM\0*junk").replace(b"MM\0*junk", b"junkjunk")
    assert is_half_white(junk)
    transparent = half_white("RGBA")
    transparent.putalpha(0)
    assert np.asarray(decode_photo(heic(transparent))).min() > 250


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
