"""PNG by its chunks: sound ones changed, their checksums right, and ones that cost memory or time."""

import struct
import zlib

from fuzz_scene import INTERESTING, Scene, mutated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_TYPES = (
    *(
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"iCCP",
        b"tEXt",
        b"zTXt",
        b"iTXt",
    ),
    *(
        b"bKGD",
        b"pHYs",
        b"eXIf",
        b"tIME",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"cICP",
        b"ABCD",
        b"\x00\xff\x1b[",
        b"CgBI",
    ),
)
Chunk = tuple[bytes, bytes]


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
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _header(scene: Scene, chunks: list[Chunk]) -> None:
    """Another size, depth, colour type or interlacing."""
    fields = list(struct.unpack(">IIBBBBB", chunks[0][1]))
    at = scene.rng.choice((0, 1, 2, 3, 3, 4, 5, 6, 6))
    fields[at] = scene.rng.choice(
        (0, 1, 2**14, 2**31 - 1, 2**32 - 1) if at < 2 else (0, 1, 2, 3, 4, 6, 8, 16, 255)
    )
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
            *(
                data[: scene.rng.randrange(len(data) + 1)],
                mutated(data or b"x", scene.rng),
                data + data,
                b"",
            ),
            *(
                zlib.compress(mutated(raw, scene.rng)),
                zlib.compress(raw[: len(raw) // 2]),
                zlib.compress(raw * 9),
            ),
            *(zlib.compress(bytes(2**25)), data[2:-4], zlib.compress(raw)[:-4] + b"\0\0\0\0"),
        )
    )
    piece = scene.rng.choice((1, 100, len(new) + 1)) if len(new) < 20_000 else len(new)
    pieces = [(b"IDAT", new[at : at + piece]) for at in range(0, len(new), piece)]
    chunks[:] = [*rest[:-1], *pieces, *rest[-1:]]


def _stranger(scene: Scene, chunks: list[Chunk]) -> None:
    """A chunk of any kind, anywhere."""
    rng, kind = scene.rng, scene.rng.choice(CHUNK_TYPES)
    text = (
        b"Title\0" + rng.choice((b"\0", b"")) + zlib.compress(b"x" * rng.choice((10, 2**21, 2**26)))
    )
    tiff = b"II*\0\x08\0\0\0" + rng.randbytes(rng.choice((2, 14, 60)))
    data = rng.choice(
        (
            *(
                b"",
                bytes(4),
                b"\xff" * 26,
                rng.randbytes(rng.randrange(40)),
                text,
                text,
                tiff,
                b"Exif\0\0" + tiff,
            ),
            *(
                struct.pack(">II", rng.choice(INTERESTING) % 2**32, 0),
                struct.pack(">I", 1) + chunks[0][1],
            ),
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


def changed(scene: Scene, photo: bytes) -> bytes:
    """The PNG with none, one or two of its chunks changed."""
    chunks = chunks_of(photo)
    changes = (_header, _pixels, _stranger, _stranger, _rearrange)
    for change in scene.rng.choices(changes, k=scene.rng.choice((0, 1, 1, 1, 2))):
        if chunks and chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13:
            change(scene, chunks)
    return png_of(chunks)


def costly(scene: Scene) -> bytes:
    """A PNG of many pixels and few bytes, whole."""
    limit = 2**25
    sides = (
        (5792, 5792),
        (5793, 5793),
        (3000, 3000),
        (1024, 2**15),
        (2**15, 1024),
        (1, 2**15),
        (2**15, 1),
    )
    width, height = scene.rng.choice(
        (*sides, (1, limit), (limit, 1), (1000, 33_000), (2**16, 512), (512, 2**16))
    )
    depth, color, samples = scene.rng.choice(
        ((8, 2, 3), (8, 6, 4), (1, 0, 1), (16, 6, 4), (16, 0, 1), (8, 3, 1))
    )
    row = 1 + -(-width * samples * depth // 8)
    pack = zlib.compressobj(1)
    rows = max(1, 2**24 // row)
    data = (
        b"".join(
            pack.compress(bytes(row * min(rows, height - at))) for at in range(0, height, rows)
        )
        + pack.flush()
    )
    palette = [(b"PLTE", bytes(range(48)))] if color == 3 else []
    return png_of(
        [
            (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
            *palette,
            (b"IDAT", data),
            (b"IEND", b""),
        ]
    )
