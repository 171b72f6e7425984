"""Hostile pictures: damaged ones of every format, bombs, and files that are no pictures."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

try:
    import pillow_heif
except ImportError:  # an optional package
    pillow_heif = None

FORMATS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("WEBP", {"lossless": True})),
    *(("TIFF", {"compression": name}) for name in (None, "tiff_lzw", "jpeg", "packbits", "zstd")),
    *((form, {}) for form in ("PNG", "AVIF", "JPEG2000", "GIF", "BMP", "PPM", "QOI", "PCX", "SGI")),
    *((form, {"save_all": True}) for form in ("GIF", "WEBP", "PNG", "TIFF", "AVIF")),
)
NOT_PHOTOS = (
    *(b"", b"\0", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0\x08\0\0\0"),
    *(b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"PK\3\4" * 9),
    *(b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"P6 2 2 255 x", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    bytes(5000),
)
CHUNKS = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"tEXt", b"zTXt", b"iTXt"),
    *(b"pHYs", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"CgBI", b"\0\xff\x1b["),
)
NUMBERS = (0, 1, 7, 127, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
Photos = Sequence[bytes]


def mutated(content: bytes, rng: random.Random, most: int | None = None) -> bytes:
    """The bytes with one to eight small changes, all before `most`; their number stays."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(max(1, min(len(changed), most or len(changed))))
        width, order = rng.choice((1, 1, 2, 4, 8)), rng.choice(("little", "big"))
        value = (rng.choice((*NUMBERS, rng.getrandbits(64))) % 256**width).to_bytes(width, order)
        changed[at : at + width] = value[: len(changed) - at]
    return bytes(changed)


def respliced(content: bytes, rng: random.Random) -> bytes:
    """The bytes cut short, or with a piece of them taken out, repeated, moved or made zero."""
    start, at = (rng.randrange(len(content) + 1) for _ in range(2))
    end = start + rng.choice((1, 8, 64, 512, 4096, len(content) // 4 or 1))
    piece, rest = content[start:end], content[end:]
    moved = content[:at] + piece + content[at + len(piece) :]
    changes = (content[:start] + rest, content[:end] + piece + rest, moved, content + piece)
    return rng.choice((content[:start], content[:start] + bytes(len(piece)) + rest, *changes))


def _damaged(content: bytes, rng: random.Random) -> bytes:
    near_its_start = mutated(content, rng, 300)
    changes = (near_its_start, near_its_start, mutated(content, rng), respliced(content, rng))
    return rng.choice((content, content[: rng.randrange(len(content) + 1)], *changes))


def _image(rng: random.Random, photos: Photos, mode: str = "RGB") -> Image.Image:
    return Image.open(io.BytesIO(rng.choice(photos))).convert(mode)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _exif(rng: random.Random) -> bytes:
    """Orientation as it should be, of a wrong type or number, or beside junk."""
    order, kind = rng.choice("><"), rng.choice((3, 3, 3, 1, 2, 4, 12, 99))
    value = struct.pack(order + "HH", rng.choice((0, 1, 3, 6, 8, 9, 65535)), 0)
    count = rng.choice((1, 1, 1, 0, 2, 2**31))
    entry = struct.pack(order + "HHI", 0x0112, kind, count) + value
    link = struct.pack(order + "HHII", rng.choice((0x8769, 0x014A)), 4, 1, 8)  # leads back here
    entries = rng.choice(((entry,), (entry, link), (entry, rng.randbytes(12))))
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, rng.choice((8, 8, 0)))
    return head + struct.pack(order + "H", rng.choice((1, 2, 65535))) + b"".join(entries) + bytes(4)


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """(type, data) of the chunks of a sound PNG."""
    at, found = 8, []
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        found.append((kind, content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png(rng: random.Random, photos: Photos) -> bytes:
    """Chunks changed, put in, moved or repeated, with sound checksums."""
    modes = ("1", "L", "LA", "P", "RGB", "RGBA")
    chunks = chunks_of(_saved(_image(rng, photos, rng.choice(modes)), "PNG"))
    for _ in range(rng.choice((0, 1, 1, 2))):
        at = rng.randrange(len(chunks))
        kind, data = chunks[at]
        text = b"Title\0\0" + zlib.compress(b"x" * rng.choice((10, 2**21, 2**26)))
        junk = (b"", bytes(4), rng.randbytes(30), text, _exif(rng), b"Exif\0\0" + _exif(rng))
        pixels = zlib.compress(bytes(rng.choice((10, 2**12, 2**25))))
        stranger = (rng.choice(CHUNKS), rng.choice(junk))
        change = rng.randrange(5)
        chunks[at : at + 1] = (
            [(kind, mutated(data or b"x", rng))],
            [stranger, (kind, data)],
            [(kind, data)] * rng.choice((0, 2)),
            [(kind, pixels if kind == b"IDAT" else data)],
            [(kind, data[: len(data) // 2]), (kind, data[len(data) // 2 :])],
        )[change] or [(b"IEND", b"")]
    content = png_of(chunks)
    return rng.choice((content, content, content, _damaged(content, rng)))


def jpeg(rng: random.Random, photos: Photos) -> bytes:
    """Segments with strange content or length put in, mostly EXIF."""
    content = _saved(_image(rng, photos, rng.choice(("RGB", "L", "CMYK"))), "JPEG")
    marker = rng.choice((0xE1, 0xE1, 0xE0, 0xE2, 0xED, 0xEE, 0xFE, 0xC0, 0xC4, 0xDB, 0xD9, 0x01))
    heads = (b"Exif\0\0", b"MPF\0II*\0\x08\0\0\0", b"ICC_PROFILE\0\1\2", b"Adobe\0", b"JFIF\0", b"")
    body = rng.choice(heads) + rng.choice((b"", rng.randbytes(60), _exif(rng), bytes(65000)))
    length = struct.pack(">H", rng.choice((len(body) + 2,) * 4 + (0, 1, 2, 65535)))
    strange = content[:2] + bytes([0xFF, marker]) + length + body + content[2:]
    return rng.choice((strange, strange, strange, _damaged(content, rng), content[:-2]))


def other(rng: random.Random, photos: Photos) -> bytes:
    return _damaged(sound(rng, photos), rng)


def sound(rng: random.Random, photos: Photos) -> bytes:
    form, options = rng.choice(FORMATS)
    image = _image(rng, photos)
    if rng.random() < 0.1:  # very narrow or very small
        image = Image.new("RGB", rng.choice(((1, 1), (1, 5000), (16_000, 3))))
    if "save_all" in options:  # several pictures
        options = options | {"append_images": [_image(rng, photos).resize(image.size)]}
    elif pillow_heif and rng.random() < 0.2:
        stream = io.BytesIO()
        pillow_heif.from_pillow(_image(rng, photos)).save(stream, quality=50)
        return stream.getvalue()
    return _saved(image, form, **options)


def not_a_photo(rng: random.Random, photos: Photos) -> bytes:
    return rng.choice((*NOT_PHOTOS, rng.randbytes(300), zlib.compress(photos[0])))


def bomb(rng: random.Random, photos: Photos) -> bytes:
    """Few bytes that claim many pixels, or hold them."""
    side = rng.choice((6000, 16_383, 2**15, 50_000, 65_535, 2**31 - 1))
    short, rows = min(side, 65_535), zlib.compress(bytes(2**22))
    picture = _saved(Image.new("RGB", (8, 8)), "JPEG")
    at = picture.index(b"\xff\xc0") + 5
    header = struct.pack(">IIBBBBB", side, side, *rng.choice(((8, 2), (1, 0), (16, 6))), 0, 0, 0)
    gif = b"GIF89a" + struct.pack("<HHBBB", short, short, 0x80, 0, 0) + bytes(6)
    bmp = struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, side, side, 1, 24, *[0] * 6)
    return rng.choice(
        (
            gif + b"," + struct.pack("<HHHHB", 0, 0, short, short, 0) + b"\x02\x02\x44\x01\0;",
            picture[:at] + struct.pack(">HH", short, short) + picture[at + 4 :],
            png_of([(b"IHDR", header), (b"IDAT", rows)]),
            b"BM" + bmp,
            b"P5 %d %d 255 " % (side, side) + bytes(100),
            b"qoif" + struct.pack(">IIBB", side, side, 3, 0) + bytes(30),
            _saved(Image.new("L", (8000, 8000)), "PNG"),
        )
    )


KINDS: dict[str, tuple[Callable[[random.Random, Photos], bytes], int]] = {
    "PNG": (png, 18),
    "JPEG": (jpeg, 16),
    "other formats": (other, 30),
    "not a photo": (not_a_photo, 8),
    "bomb": (bomb, 6),
    "nothing wrong": (sound, 6),
}


def kinds(count: int, rng: random.Random) -> list[str]:
    """The kind of each picture: each at least once where there is room."""
    weights = [weight for _, weight in KINDS.values()]
    drawn = [*KINDS, *rng.choices(list(KINDS), weights, k=max(0, count - len(KINDS)))]
    rng.shuffle(drawn)
    return drawn[:count]
