"""Fuzzed archives: tar members of every kind with sound checksums, and gzip streams."""

import gzip
import zlib
from collections.abc import Callable

from fuzz_scene import MAT, Scene, mutated, respliced

FIELDS = {
    **{
        "name": (0, 100),
        "mode": (100, 8),
        "uid": (108, 8),
        "gid": (116, 8),
        "size": (124, 12),
        "mtime": (136, 12),
    },
    **{
        "type": (156, 1),
        "linkname": (157, 100),
        "magic": (257, 8),
        "uname": (265, 32),
        "gname": (297, 32),
    },
    **{"devmajor": (329, 8), "devminor": (337, 8), "prefix": (345, 155)},
}
CHECKSUM = slice(148, 156)
TYPES = b"0\x001234567xgLKSXDVMN\xff"
BOMB_BLOCK = 2**24


class Member:
    """A 512-byte header and what follows it."""

    def __init__(self, name: bytes, content: bytes = b"", kind: bytes = b"0"):
        self.header, self.content = bytearray(512), content
        self.set("name", name)
        self.set("mode", b"0000644\0")
        self.set("size", b"%011o\0" % len(content))
        self.set("mtime", b"%011o\0" % 0)
        self.set("type", kind)
        self.set("magic", b"ustar\x0000")

    def set(self, field: str, value: bytes) -> None:
        start, length = FIELDS[field]
        self.header[start : start + length] = value[:length].ljust(length, b"\0")

    def tobytes(self, *, is_sound: bool = True) -> bytes:
        if is_sound:
            self.header[CHECKSUM] = b" " * 8
            self.header[CHECKSUM] = b"%06o\0 " % sum(self.header)
        return bytes(self.header) + self.content + bytes(-len(self.content) % 512)


def members(scene: Scene, files: dict[str, bytes]) -> list[Member]:
    folder = scene.split.encode()
    return [Member(folder + b"/", kind=b"5")] + [
        Member(folder + b"/" + name.encode(), content) for name, content in files.items()
    ]


def tar_of(found: list[Member]) -> bytes:
    return b"".join(member.tobytes() for member in found) + bytes(1024)


def _name(scene: Scene) -> bytes:
    split, rng = scene.split.encode(), scene.rng
    return rng.choice(
        (
            *(
                b"../outside/1.png",
                b"/etc/passwd",
                split + b"/../../outside/1.png",
                b"./" + split + b"/1.png",
            ),
            *(
                split + b"/2.png",
                split + b"//2.png",
                split + b"/./2.png",
                split + b"/sub/2.png",
                split,
                b"",
                b"/",
            ),
            *(
                b"1.png",
                split + b"/\x1b[2J\x07.png",
                split + b"/\xff\xfe.png",
                split + b"/a\nerror: b.png",
            ),
            *(
                split + b"/" + b"x" * 200 + b".png",
                b"test/1.png",
                split.upper() + b"/1.png",
                split + b"/1.PNG\0junk",
            ),
            *(
                split + b"/" + MAT.encode(),
                split + b"/see_bboxes.m",
                split + b"/\xd9\xa1.png",
                rng.randbytes(60),
            ),
        )
    )


def _number(scene: Scene, width: int) -> bytes:
    rng = scene.rng
    octal = b"%0*o" % (
        width - 1,
        rng.choice((0, 1, 511, 512, 4096, 2**20 + 1, 2**25 + 1, 2**30, 8**11 - 1)),
    )
    base256 = bytes([rng.choice((0x80, 0xFF))]) + rng.choice(
        (b"\xff" * (width - 1), bytes(width - 1), b"\x7f" * (width - 1), rng.randbytes(width - 1))
    )
    return rng.choice(
        (
            octal,
            base256,
            b"-1",
            b"9" * width,
            b" " * width,
            b"0x10",
            b"1_0",
            rng.randbytes(width),
            b"",
        )
    )


def _change_field(scene: Scene, found: list[Member]) -> None:
    member, field = scene.rng.choice(found), scene.rng.choice(tuple(FIELDS))
    if field == "type":
        member.set(field, bytes([scene.rng.choice(TYPES)]))
    elif field in ("name", "linkname", "prefix", "uname", "gname"):
        member.set(field, _name(scene))
    elif field == "magic":
        member.set(field, scene.rng.choice((b"ustar  \0", b"", b"GNUtar ", scene.rng.randbytes(8))))
    else:
        member.set(field, _number(scene, FIELDS[field][1]))


def _change_size(scene: Scene, found: list[Member]) -> None:
    scene.rng.choice(found).set("size", _number(scene, 12))


def _change_bytes(scene: Scene, found: list[Member]) -> None:
    member = scene.rng.choice(found)
    member.header[:] = mutated(bytes(member.header), scene.rng)


def _link(scene: Scene, found: list[Member]) -> None:
    member = Member(scene.split.encode() + b"/2.png", kind=scene.rng.choice((b"1", b"2")))
    target = str(scene.outside / "1.png").encode()
    member.set(
        "linkname",
        scene.rng.choice((target, b"../../outside/1.png", b"1.png", b"2.png", b"/dev/zero", b"")),
    )
    found.insert(scene.rng.randrange(len(found) + 1), member)


def _special(scene: Scene, found: list[Member]) -> None:
    kind = bytes([scene.rng.choice(TYPES)])
    content = scene.rng.choice((b"", b"x" * 700, next(iter(scene.material.photos.values()))))
    found.insert(scene.rng.randrange(len(found) + 1), Member(_name(scene), content, kind))


def _pax(scene: Scene, found: list[Member]) -> None:
    """An extended header: right ones, and lengths that lie."""
    rng = scene.rng
    key = rng.choice(
        (
            b"path",
            b"size",
            b"linkpath",
            b"mtime",
            b"hdrcharset",
            b"uid",
            b"charset",
            b"GNU.sparse.major",
        )
    )
    if rng.random() < 0.4:
        key = b"GNU.sparse." + rng.choice(
            (b"map", b"size", b"numblocks", b"offset", b"name", b"realsize", b"minor")
        )
    value = rng.choice(
        (_name(scene), _number(scene, 12), b"1", b"1,2,3", b"BINARY", b"\xff" * 9, b"9" * 5000, b"")
    )
    record = b" %s=%s\n" % (key, value)
    length = len(record) + len(str(len(record) + 3))
    stated = rng.choice(
        (b"%d" % length,) * 5
        + (b"0", b"1", b"-5", b"99999999", b"9" * 5000, b"x", b"", b"%d" % 2**63)
    )
    content = (stated + record) * rng.choice((1, 1, 2)) + rng.choice(
        (b"", b"", b"21 GNU.sparse.minor=0\n", b"junk")
    )
    found.insert(
        rng.randrange(len(found) + 1), Member(b"pax", content, rng.choice((b"x", b"x", b"g", b"X")))
    )


def _gnu_long(scene: Scene, found: list[Member]) -> None:
    name = scene.rng.choice(
        (_name(scene), _name(scene) + b"\0", b"a/" * 3000, b"", scene.rng.randbytes(600))
    )
    member = Member(b"././@LongLink", name, scene.rng.choice((b"L", b"L", b"K")))
    at = scene.rng.randrange(len(found) + 1)
    found[at:at] = [member] * scene.rng.choice((1, 1, 2, 300))


def _rearrange(scene: Scene, found: list[Member]) -> None:
    at = scene.rng.randrange(len(found))
    member = found.pop(at)
    found[scene.rng.randrange(len(found) + 1) : 0] = [member] * scene.rng.choice((0, 1, 2))


TAR_CHANGES: tuple[Callable[[Scene, list[Member]], None], ...] = (
    *(_change_field, _change_size, _change_bytes, _link, _special, _pax, _gnu_long, _rearrange),
)


def tar_headers(scene: Scene) -> None:
    """Members of all kinds, mostly with sound checksums."""
    found = members(scene, scene.files())
    for _ in range(scene.rng.choice((1, 1, 2, 4))):
        scene.rng.choice(TAR_CHANGES)(scene, found)
    blocks = [member.tobytes(is_sound=scene.rng.random() < 0.98) for member in found]
    if scene.rng.random() < 0.1:
        junk = scene.rng.choice(
            (bytes(512), scene.rng.randbytes(512), bytes(10240), b"\xff" * 512, b"x" * 100)
        )
        blocks.insert(scene.rng.randrange(len(blocks) + 1), junk)
    end = scene.rng.choice(
        (bytes(1024),) * 8 + (b"", bytes(512), bytes(100), scene.rng.randbytes(2000))
    )
    scene.write_archive(b"".join(blocks) + end)


def tar_bytes(scene: Scene) -> None:
    """Any bytes of an archive changed, cut or spliced, under a sound gzip checksum."""
    content = tar_of(members(scene, scene.files()))
    change = scene.rng.choice((mutated, respliced))
    scene.write_archive(change(content, scene.rng))


def gzip_stream(scene: Scene) -> None:
    """A compressed stream that is damaged, cut, in several pieces, or followed by something."""
    rng, tar = scene.rng, tar_of(members(scene, scene.files()))
    good = gzip.compress(tar, 1, mtime=0)
    half = rng.randrange(len(tar))
    options = rng.randrange(256)
    content = rng.choice(
        (
            *(
                good[: rng.randrange(len(good))],
                mutated(good, rng),
                mutated(good, rng, (range(20),)),
                b"",
            ),
            *(
                gzip.compress(tar[:half]) + gzip.compress(tar[half:]),
                good + gzip.compress(b""),
                good + good,
            ),
            *(
                good + bytes(rng.choice((1, 512, 5000))),
                good + rng.randbytes(50),
                good[:-8] + rng.randbytes(8),
            ),
            *(
                good[:-4] + bytes(4),
                good[:3] + bytes([options]) + good[4:],
                tar,
                zlib.compress(tar),
                b"\x1f\x8b",
            ),
            *(gzip.compress(good, 1), good[:10] + rng.randbytes(300), respliced(good, rng)),
        )
    )
    (scene.raw / f"{scene.split}.tar.gz").write_bytes(content)


def _zeros(blocks: int) -> bytes:
    return gzip.compress(bytes(BOMB_BLOCK), 9, mtime=0) * blocks


def gzip_bomb(scene: Scene) -> None:
    """A thousandfold expansion: behind the archive, in a photo, in a header, in digitStruct.mat."""
    rng, blocks = scene.rng, scene.rng.choice((4, 20, 66))
    found = members(scene, scene.files())
    giant = Member(
        scene.split.encode()
        + rng.choice((b"/9.png", b"/9.png", b"/" + MAT.encode(), b"/notes.txt")),
        kind=rng.choice(b"000xgLKS".decode()).encode(),
    )
    giant.set("size", b"%011o\0" % rng.choice((blocks * BOMB_BLOCK, 2**33 - 1, 2**25)))
    place = rng.choice((0, 1, len(found)))
    before, after = (
        b"".join(member.tobytes() for member in part) for part in (found[:place], found[place:])
    )
    content = (
        gzip.compress(before + giant.tobytes())
        + _zeros(blocks)
        + gzip.compress(after + bytes(1024))
    )
    if rng.random() < 0.3:
        content = gzip.compress(tar_of(found)) + _zeros(blocks)
    (scene.raw / f"{scene.split}.tar.gz").write_bytes(content)


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    "tar headers": (tar_headers, 14),
    "tar bytes": (tar_bytes, 5),
    "gzip stream": (gzip_stream, 6),
    "gzip bomb": (gzip_bomb, 1),
}
