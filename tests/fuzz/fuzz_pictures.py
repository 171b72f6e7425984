"""Hostile pictures for svhn_jax.predict: damaged ones of every format, and what else may lie where a photo should."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import fuzz_inputs_photos
import fuzz_png
from fuzz_inputs_folders import STRANGE
from fuzz_scene import Scene, mutated, respliced
from PIL import Image

from svhn_jax.data.photos import SUFFIXES

try:
    import pillow_heif
except ImportError:  # an optional package: the kind is then made of a bare header
    pillow_heif = None

FORMATS = (*fuzz_inputs_photos.OTHERS, ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}))
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
NOT_PHOTOS = (
    *(
        SVG,
        b"<html><img src='x.png'></html>",
        b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n",
        b"PK\x03\x04" + bytes(60),
    ),
    *(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\x00",
    ),
    *(
        b"#!/bin/sh\necho 1\n",
        b"\x7fELF" + bytes(60),
        b"II*\x00\x08\x00\x00\x00",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"BM",
    ),
    *(
        b"P6 2 2 255 x",
        b"Traceback (most recent call last):\n",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        bytes(5000),
    ),
)
NAMES = (
    b"",
    b"",
    b"",
    b" ",
    b"\n",
    b"\nerror: b",
    b"\x1b[2J",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"\xc3\xa9",
    b"'\"",
    b"-rf",
)
LONGEST_NAME = 255


def _photo(scene: Scene) -> bytes:
    return scene.rng.choice(list(scene.material.photos.values()))


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _any_format(scene: Scene) -> bytes:
    form, options = scene.rng.choice(FORMATS)
    return _saved(Image.open(io.BytesIO(_photo(scene))).convert("RGB"), form, **options)


def png(scene: Scene) -> bytes:
    return fuzz_inputs_photos.png(scene, _photo(scene))


def jpeg(scene: Scene) -> bytes:
    return fuzz_inputs_photos.jpeg(scene, _photo(scene))


def other(scene: Scene) -> bytes:
    return fuzz_inputs_photos.other(scene, _photo(scene))


def truncated(scene: Scene) -> bytes:
    content = _any_format(scene)
    return content[: scene.rng.randrange(len(content))]


def heic(scene: Scene) -> bytes:
    """HEIC, sound or damaged."""
    if pillow_heif is None:
        return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + scene.rng.randbytes(200)
    image, stream = (
        Image.open(io.BytesIO(_photo(scene))).convert(scene.rng.choice(("RGB", "RGBA", "L"))),
        io.BytesIO(),
    )
    pillow_heif.from_pillow(image).save(stream, quality=50)
    content = stream.getvalue()
    changes = (content, mutated(content, scene.rng, (range(600),)), mutated(content, scene.rng))
    return scene.rng.choice(
        (*changes, changes[1], respliced(content, scene.rng), content[: len(content) // 2])
    )


def animated(scene: Scene) -> bytes:
    """Several pictures in one file, sound or damaged."""
    frames = [
        Image.open(io.BytesIO(photo)).convert("RGB") for photo in scene.material.photos.values()
    ]
    form = scene.rng.choice(("GIF", "WEBP", "PNG", "TIFF", "AVIF"))
    content = _saved(
        frames[0],
        form,
        save_all=True,
        append_images=[one.resize(frames[0].size) for one in frames[1:]],
    )
    return scene.rng.choice((content, mutated(content, scene.rng), respliced(content, scene.rng)))


def not_a_photo(scene: Scene) -> bytes:
    return scene.rng.choice((b"", *NOT_PHOTOS, scene.rng.randbytes(300)))


def strange_size(scene: Scene) -> bytes:
    """Sound pictures that are very narrow, very small, or of one colour."""
    size = scene.rng.choice(
        ((1, 1), (1, 5000), (5000, 1), (2, 2), (3, 900), (20_000, 3), (1, 2**15), (1999, 1500))
    )
    mode = scene.rng.choice(("1", "L", "LA", "RGB", "RGBA", "P"))
    return _saved(Image.new(mode, size), scene.rng.choice(("PNG", "TIFF")))


def bomb(scene: Scene) -> bytes:
    """Few bytes that claim many pixels, or hold them."""
    rng, side = scene.rng, scene.rng.choice((16_383, 2**15, 50_000, 65_535, 2**31 - 1))
    short = min(side, 65_535)
    gif = b"GIF89a" + struct.pack("<HHBBB", short, short, 0x80, 0, 0) + bytes(6)
    gif += b"," + struct.pack("<HHHHB", 0, 0, short, short, 0) + b"\x02\x02\x44\x01\x00;"
    jpeg = _saved(Image.new("RGB", (8, 8)), "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    entries = [
        (256, side),
        (257, side),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, side),
        (279, 100),
    ]
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    tiff += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)
    rows = zlib.compress(bytes(2**22))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return rng.choice(
        (
            *(
                gif,
                jpeg[:at] + struct.pack(">HH", short, short) + jpeg[at + 4 :],
                tiff,
                fuzz_png.costly(scene),
            ),
            fuzz_png.png_of([(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]),
            b"BM"
            + struct.pack("<IHHI", 70, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6),
            b"P5 %d %d 255 " % (side, side) + bytes(100),
            b"qoif" + struct.pack(">IIBB", side, side, 3, 0) + bytes(30),
        )
    )


def sound(scene: Scene) -> bytes:
    return _any_format(scene)


CONTENTS: dict[str, tuple[Callable[[Scene], bytes], int]] = {
    "PNG": (png, 16),
    "JPEG": (jpeg, 14),
    "other formats": (other, 16),
    "HEIC": (heic, 8),
    "truncated": (truncated, 12),
    "animated": (animated, 4),
    "not a photo": (not_a_photo, 8),
    "strange size": (strange_size, 4),
    "bomb": (bomb, 6),
    "nothing wrong": (sound, 4),
}
NO_FILE = "link, folder, pipe ..."
WEIGHTS = {name: weight for name, (_, weight) in CONTENTS.items()} | {NO_FILE: 8}


def put(scene: Scene, kind: str, index: int) -> Path:
    """Makes a picture of a kind in the scene's folder raw/, under a name that begins with its index."""
    suffix = scene.rng.choice((".png", ".jpg", *SUFFIXES))
    longest = b"x" * (LONGEST_NAME - 4 - len(suffix))
    odd = scene.rng.choice(
        NAMES if kind == NO_FILE else (*NAMES, longest)
    )  # the name of a socket must be short
    path = Path(
        scene.raw,
        (f"{index:04d}".encode() + odd + suffix.encode()).decode("utf-8", "surrogateescape"),
    )
    if kind == NO_FILE:
        scene.rng.choice(STRANGE)(scene, path)
    else:
        path.write_bytes(CONTENTS[kind][0](scene))
    return path


def kinds(count: int, rng: random.Random) -> list[str]:
    """The kind of each picture: each at least once where there is room."""
    drawn = [
        *WEIGHTS,
        *rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=max(0, count - len(WEIGHTS))),
    ]
    rng.shuffle(drawn)
    return drawn[:count]
