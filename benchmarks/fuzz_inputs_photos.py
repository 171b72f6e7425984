"""Fuzzed photos: PNG by its chunks, JPEG by its segments, both by their bytes, and sizes that cost."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from fuzz_inputs_mat import place
from fuzz_inputs_tar import members, tar_of
from fuzz_scene import INTERESTING, MAT, Scene, mutated, respliced
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_TYPES = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt", b"zTXt", b"iTXt"),
    *(b"bKGD", b"pHYs", b"eXIf", b"tIME", b"acTL", b"fcTL", b"fdAT", b"cICP", b"ABCD", b"\x00\xff\x1b[", b"CgBI"),
)
Chunk = tuple[bytes, bytes]
MODES = ("1", "L", "LA", "P", "P", "RGB", "RGBA", "I;16")


def chunks_of(content: bytes) -> list[Chunk]:
    """(type, data) of the chunks of a sound PNG."""
    at, found = len(SIGNATURE), []
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(chunks: list[Chunk]) -> bytes:
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _header(scene: Scene, chunks: list[Chunk]) -> None:
    """Another size, depth, colour type or interlacing."""
    fields = list(struct.unpack(">IIBBBBB", chunks[0][1]))
    at = scene.rng.choice((0, 1, 2, 3, 3, 4, 5, 6, 6))
    fields[at] = scene.rng.choice((0, 1, 2**14, 2**31 - 1, 2**32 - 1) if at < 2 else (0, 1, 2, 3, 4, 6, 8, 16, 255))
    chunks[0] = b"IHDR", struct.pack(">IIBBBBB", *fields)


def _pixels(scene: Scene, chunks: list[Chunk]) -> None:
    """The compressed pixels cut, changed, in pieces, or too many."""
    data = b"".join(data for kind, data in chunks if kind == b"IDAT")
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    try:
        raw = zlib.decompress(data)
    except zlib.error:  # another change was there before
        raw = b"\0" * 999
    new = scene.rng.choice(
        (
            *(data[: scene.rng.randrange(len(data) + 1)], mutated(data or b"x", scene.rng), data + data, b""),
            *(zlib.compress(mutated(raw, scene.rng)), zlib.compress(raw[: len(raw) // 2]), zlib.compress(raw * 9)),
            *(zlib.compress(bytes(2**25)), data[2:-4], zlib.compress(raw)[:-4] + b"\0\0\0\0"),
        )
    )
    piece = scene.rng.choice((1, 100, len(new) + 1)) if len(new) < 20_000 else len(new)
    pieces = [(b"IDAT", new[at : at + piece]) for at in range(0, len(new), piece)]
    chunks[:] = [*rest[:-1], *pieces, *rest[-1:]]


def _stranger(scene: Scene, chunks: list[Chunk]) -> None:
    """A chunk of any kind, anywhere."""
    rng, kind = scene.rng, scene.rng.choice(CHUNK_TYPES)
    text = b"Title\0" + rng.choice((b"\0", b"")) + zlib.compress(b"x" * rng.choice((10, 2**21, 2**26)))
    tiff = b"II*\0\x08\0\0\0" + rng.randbytes(rng.choice((2, 14, 60)))
    data = rng.choice(
        (
            *(b"", bytes(4), b"\xff" * 26, rng.randbytes(rng.randrange(40)), text, text, tiff, b"Exif\0\0" + tiff),
            *(struct.pack(">II", rng.choice(INTERESTING) % 2**32, 0), struct.pack(">I", 1) + chunks[0][1]),
            *(
                struct.pack(">IIIIIHHBB", 0, 5, 5, rng.choice((0, 2**31)), 0, 1, 0, 7, 7),
                bytes(768),
                rng.randbytes(256),
            ),
        )
    )
    chunks.insert(rng.randrange(len(chunks) + 1), (kind, data))


def _rearrange(scene: Scene, chunks: list[Chunk]) -> None:
    chunk = chunks.pop(scene.rng.randrange(len(chunks)))
    at = scene.rng.randrange(len(chunks) + 1)
    chunks[at:at] = [chunk] * scene.rng.choice((0, 1, 2))


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
    link = struct.pack(order + "HHII", rng.choice((0x8769, 0xA005, 0x014A)), 4, 1, 8)  # leads back here
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
    chunks = chunks_of(photo)
    for change in rng.choices((_header, _pixels, _stranger, _stranger, _rearrange), k=rng.choice((0, 1, 1, 1, 2))):
        if chunks and chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13:
            change(scene, chunks)
    content = png_of(chunks)
    return rng.choice((content,) * 6 + (mutated(content, rng), respliced(content, rng)))


def jpeg(scene: Scene, photo: bytes) -> bytes:
    """Sound JPEG, mostly with an odd EXIF; or its segments changed; or strange ones put in."""
    rng = scene.rng
    content = _recoded(scene, photo, "JPEG", ("RGB", "RGB", "L", "CMYK"))
    marker = bytes([0xFF, rng.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xC0, 0xC4, 0xDB, 0xDD, 0xDA, 0xD9, 0x01))])
    heads = (
        b"MPF\0II*\0\x08\0\0\0",
        b"Exif\0\0",
        b"ICC_PROFILE\0\1\2",
        b"Adobe\0",
        b"Photoshop 3.0\0008BIM",
        b"JFIF\0",
        b"",
    )
    body = rng.choice(heads) + rng.choice((b"", rng.randbytes(rng.randrange(80)), _exif(scene), bytes(65000)))
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


def costly(scene: Scene) -> bytes:
    """A PNG of many pixels and few bytes, whole."""
    limit = 2**25
    sides = ((5792, 5792), (1, limit), (limit, 1), (16, limit // 16), (limit // 16, 16), (1000, 33_000), (5793, 5793))
    width, height = scene.rng.choice((*sides, (3000, 3000), (2**16, 512), (512, 2**16)))
    depth, color, samples = scene.rng.choice(((8, 2, 3), (8, 6, 4), (1, 0, 1), (16, 6, 4), (16, 0, 1), (8, 3, 1)))
    row = 1 + -(-width * samples * depth // 8)
    pack = zlib.compressobj(1)
    rows = max(1, 2**24 // row)
    data = b"".join(pack.compress(bytes(row * min(rows, height - at))) for at in range(0, height, rows)) + pack.flush()
    palette = [(b"PLTE", bytes(range(48)))] if color == 3 else []
    return png_of(
        [
            (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
            *palette,
            (b"IDAT", data),
            (b"IEND", b""),
        ]
    )


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


def costly_photo(scene: Scene) -> None:
    """One photo of a size that takes memory or time to decode or to crop."""
    first = scene.material.records[0]
    files = scene.files({first.name: costly(scene)})
    if scene.rng.random() < 0.5:
        mat = bytearray(files[MAT])
        value = struct.pack("<d", scene.rng.choice((3e4, 1e6, 999_999.0)))
        for number in {*first.boxes[0][2:].tolist()}:  # its width and height
            at = bytes(mat).find(struct.pack("<d", number))
            mat[at : at + 8] = value
        files[MAT] = bytes(mat)
    scene.options += scene.rng.choice(([], ["--margin", "10"]))
    (place(scene, files[MAT]) if scene.rng.random() < 0.1 else scene.write_folder(files))


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    "PNG": (pngs, 12),
    "JPEG": (jpegs, 9),
    "costly photo": (costly_photo, 1),
}
