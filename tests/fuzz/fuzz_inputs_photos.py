"""Fuzzed photos: PNG by its chunks, JPEG by its segments, every format by its bytes, and sizes that cost."""

import io
import struct
from collections.abc import Callable
from typing import Any

import fuzz_png
from fuzz_inputs_tar import members, tar_of
from fuzz_scene import MAT, Scene, mutated, respliced
from PIL import Image

OTHERS = (
    *(
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {}),
        ("JPEG2000", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("DIB", {}),
    ),
    *(
        ("TIFF", {"compression": name})
        for name in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "zstd")
    ),
    *(
        ("PPM", {}),
        ("QOI", {}),
        ("PCX", {}),
        ("SGI", {}),
        ("DDS", {}),
        ("DDS", {"pixel_format": "DXT1"}),
    ),
)
MODES = ("1", "L", "LA", "P", "P", "RGB", "RGBA", "I;16")


def _recoded(scene: Scene, photo: bytes, form: str, modes: tuple[str, ...]) -> bytes:
    """The photo in another mode, with all that may come with it."""
    rng, options = scene.rng, dict[str, Any]()
    mode = rng.choice(modes)
    image = Image.open(io.BytesIO(photo)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = image.convert("I").point(lambda value: value * 257).convert("I;16")
    if form == "PNG" and rng.random() < 0.5:
        options["transparency"] = (
            rng.choice((rng.randbytes(9), 3)) if mode == "P" else 0 if mode in ("1", "L") else None
        )
        options = {key: value for key, value in options.items() if value is not None}
    if form == "JPEG":
        options["progressive"] = rng.random() < 0.3
    if rng.random() < 0.5:
        options["exif"] = _exif(scene)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _exif(scene: Scene) -> bytes:
    """Orientation as it should be, of a wrong type or number, or beside junk."""
    rng = scene.rng
    order = rng.choice((">", "<"))
    kind, count = rng.choice((3, 3, 3, 1, 2, 4, 5, 7, 12, 99)), rng.choice((1, 1, 1, 0, 2, 2**31))
    value = struct.pack(order + "HH", rng.choice((0, 1, 2, 3, 5, 6, 7, 8, 8, 9, 65535)), 0)
    entry = struct.pack(order + "HHI", 0x0112, kind, count) + value
    link = struct.pack(
        order + "HHII", rng.choice((0x8769, 0xA005, 0x014A)), 4, 1, 8
    )  # leads back here
    first = rng.choice((8, 8, 8, 8, 0, 2**32 - 1))
    entries = rng.choice(((entry,), (entry, link), (entry, entry), (entry, rng.randbytes(12))))
    stated = rng.choice((len(entries),) * 3 + (65535,))
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, first)
    return (
        b"Exif\0\0"
        + head
        + struct.pack(order + "H", stated)
        + b"".join(entries)
        + rng.choice((bytes(4), b"\0\0\0\x08", b""))
    )


def png(scene: Scene, photo: bytes) -> bytes:
    rng = scene.rng
    if rng.random() < 0.25:
        photo = _recoded(scene, photo, "PNG", MODES)
    content = fuzz_png.changed(scene, photo)
    return rng.choice((content,) * 6 + (mutated(content, rng), respliced(content, rng)))


def jpeg(scene: Scene, photo: bytes) -> bytes:
    """Sound JPEG, mostly with an odd EXIF; or its segments changed; or strange ones put in."""
    rng = scene.rng
    content = _recoded(scene, photo, "JPEG", ("RGB", "RGB", "L", "CMYK"))
    marker = bytes(
        [
            0xFF,
            rng.choice(
                (0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xC0, 0xC4, 0xDB, 0xDD, 0xDA, 0xD9, 0x01)
            ),
        ]
    )
    heads = (
        b"MPF\0II*\0\x08\0\0\0",
        b"Exif\0\0",
        b"ICC_PROFILE\0\1\2",
        b"Adobe\0",
        b"Photoshop 3.0\0008BIM",
        b"JFIF\0",
        b"",
    )
    body = rng.choice(heads) + rng.choice(
        (b"", rng.randbytes(rng.randrange(80)), _exif(scene), bytes(65000))
    )
    length = rng.choice((len(body) + 2,) * 4 + (0, 1, 2, 65535))
    strange = content[:2] + marker + struct.pack(">H", length % 65536) + body + content[2:]
    head = content.find(b"\xff\xda")
    options = (
        content,
        strange,
        strange,
        mutated(content, rng, (range(head),)),
        mutated(content, rng),
        respliced(content, rng),
    )
    return rng.choice(options)


def other(scene: Scene, photo: bytes) -> bytes:
    """The photo in another format, mostly with changed bytes, more often near its start."""
    rng, stream = scene.rng, io.BytesIO()
    form, options = rng.choice(OTHERS)
    Image.open(io.BytesIO(photo)).convert("RGB").save(stream, form, **options)
    content = stream.getvalue()
    changes = (
        content,
        mutated(content, rng, (range(200),)),
        mutated(content, rng),
        respliced(content, rng),
    )
    return rng.choice((*changes, changes[1]))


def _make(scene: Scene, change: Callable[[Scene, bytes], bytes]) -> None:
    """An archive or a folder in which some photos are changed."""
    photos = dict(scene.material.photos)
    for name in scene.rng.sample(sorted(photos), scene.rng.choice((1, 1, 2, len(photos)))):
        photos[name] = change(scene, photos[name])
    if scene.rng.random() < 0.5:
        scene.write_archive(tar_of(members(scene, scene.files(photos))))
    else:
        scene.write_folder(scene.files(photos))
    scene.records = len(scene.material.records)


def pngs(scene: Scene) -> None:
    """PNG chunks changed, their checksums sound."""
    _make(scene, png)


def jpegs(scene: Scene) -> None:
    """JPEG segments and EXIF, sound and not; under names that end in .png, as content decides."""
    _make(scene, jpeg)


def others(scene: Scene) -> None:
    """The other formats that are read; under names that end in .png, as content decides."""
    _make(scene, other)


def costly_photo(scene: Scene) -> None:
    """One photo of a size that takes memory or time to decode or to crop."""
    first = scene.material.records[0]
    files = scene.files({first.name: fuzz_png.costly(scene)})
    if scene.rng.random() < 0.5:
        mat = bytearray(files[MAT])
        value = struct.pack("<d", scene.rng.choice((3e4, 1e6, 999_999.0)))
        for number in {*first.boxes[0][2:].tolist()}:  # its width and height
            at = bytes(mat).find(struct.pack("<d", number))
            mat[at : at + 8] = value
        files[MAT] = bytes(mat)
    scene.options += scene.rng.choice(([], ["--margin", "10"]))
    if scene.rng.random() < 0.2:
        scene.write_archive(tar_of(members(scene, files)))
    else:
        scene.write_folder(files)


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    "PNG": (pngs, 12),
    "JPEG": (jpegs, 9),
    "other formats": (others, 9),
    "costly photo": (costly_photo, 1),
}
