"""Fuzzed digitStruct.mat, byte by byte: headers, addresses, sizes and messages of its HDF5 objects."""

import re
import struct
from collections.abc import Callable

from fuzz_inputs_tar import members, tar_of
from fuzz_scene import INTERESTING, MAT, Mat, Scene, mutated, respliced

SIGNATURES = re.compile(rb"TREE|SNOD|HEAP|OHDR|OCHK|FRHP|FHDB|BTHD|BTLF|GCOL")
MESSAGE_TYPES = (*range(0x19), 0x40, 0xFFFF)
HEADER_BYTES, MESSAGE_HEADER_BYTES = 16, 8


def place(scene: Scene, mat: bytes) -> None:
    """An archive or a folder of sound photos with this digitStruct.mat."""
    if scene.rng.random() < 0.5:
        scene.write_archive(tar_of(members(scene, scene.files({MAT: mat}))))
    else:
        scene.write_folder(scene.files({MAT: mat}))


def _any_mat(scene: Scene) -> Mat:
    return scene.material.mats[scene.rng.choice(sorted(scene.material.mats))]


def mat_bytes(scene: Scene) -> None:
    """Bits, bytes and numbers changed anywhere; or a piece cut off, repeated or moved."""
    mat = _any_mat(scene)
    if scene.rng.random() < 0.7:
        place(scene, mutated(mat.content, scene.rng, mat.live))
    else:
        place(scene, respliced(mat.content, scene.rng))


def _messages(content: bytearray, header: int) -> list[int]:
    """Where the messages of a version 1 object header start, those of its first block."""
    end = header + HEADER_BYTES + struct.unpack_from("<I", content, header + 8)[0]
    at, found = header + HEADER_BYTES, list[int]()
    while at + MESSAGE_HEADER_BYTES <= min(end, len(content)) and len(found) < 16:
        found.append(at)
        at += MESSAGE_HEADER_BYTES + struct.unpack_from("<H", content, at + 2)[0]
    return found


def _change_message(scene: Scene, mat: Mat, content: bytearray) -> None:
    """Another type, size or flag of a header's message, or another number in its body."""
    rng = scene.rng
    header = mat.base + rng.choice(mat.objects)
    places = _messages(content, header) if content[header] == 1 else []
    if not places:
        content[header : header + 64] = mutated(bytes(content[header : header + 64]), rng)
        return
    at = rng.choice(places)
    kind = rng.random()
    if kind < 0.2:
        struct.pack_into("<H", content, at, rng.choice(MESSAGE_TYPES))
    elif kind < 0.4:
        struct.pack_into(
            "<H", content, at + 2, rng.choice((0, 1, 7, 8, 16, 24, 2**15, 2**16 - 8, 2**16 - 1))
        )
    elif kind < 0.5:
        content[at + 4] = rng.choice((1, 2, 4, 8, 0x80, 0xFF))
    else:
        size = max(8, struct.unpack_from("<H", content, at + 2)[0])
        body = at + MESSAGE_HEADER_BYTES + rng.randrange(0, min(size, 48))
        _set_number(scene, content, body)


def _change_header(scene: Scene, mat: Mat, content: bytearray) -> None:
    """Version, number of messages, references or size of an object header."""
    header = mat.base + scene.rng.choice(mat.objects)
    offset, width = scene.rng.choice(((0, 1), (1, 1), (2, 2), (4, 4), (8, 4)))
    value = scene.rng.choice(INTERESTING) % 2 ** (8 * width)
    content[header + offset : header + offset + width] = value.to_bytes(width, "little")


def _change_address(scene: Scene, mat: Mat, content: bytearray) -> None:
    """An address becomes that of another object, or of nothing: circles, dead ends, and objects of another kind."""
    rng = scene.rng
    old = rng.choice(mat.objects).to_bytes(8, "little")
    new = rng.choice(
        (
            *mat.objects,
            0,
            2**64 - 1,
            2**63 - 1,
            2**63,
            len(content),
            len(content) - mat.base - 1,
            2**40,
        )
    )
    new = max(0, min(2**64 - 1, new + rng.choice((0, 0, 0, 8, -8, 1))))
    places = [found for area in mat.live for found in _places(content, old, area)]
    if places:
        at = rng.choice(places)
        content[at : at + 8] = new.to_bytes(8, "little")


def _places(content: bytearray, what: bytes, area: range) -> list[int]:
    found, at = [], content.find(what, area.start, area.stop)
    while at >= 0:
        found.append(at)
        at = content.find(what, at + 1, area.stop)
    return found


def _change_index(scene: Scene, mat: Mat, content: bytearray) -> None:
    """A number near the head of a group's tree, leaf or heap."""
    found = [
        match.start()
        for area in mat.live
        for match in SIGNATURES.finditer(content, area.start, area.stop)
    ]
    if found:
        _set_number(
            scene,
            content,
            scene.rng.choice(found) + scene.rng.choice((0, 4, 5, 6, 8, 16, 24, 32, 40, 48)),
        )


def _change_superblock(scene: Scene, mat: Mat, content: bytearray) -> None:
    """Versions, sizes, base and end address, root group."""
    _set_number(
        scene,
        content,
        mat.base + scene.rng.choice((0, *range(8, 16), 16, 18, 20, 24, 32, 40, 48, 56, 64, 72)),
    )


def _set_number(scene: Scene, content: bytearray, at: int) -> None:
    width = scene.rng.choice((1, 1, 2, 4, 8))
    value = scene.rng.choice((*INTERESTING, scene.rng.randrange(2**64))) % 2 ** (8 * width)
    if at + width <= len(content):
        content[at : at + width] = value.to_bytes(width, "little")


MAT_CHANGES: tuple[tuple[Callable[[Scene, Mat, bytearray], None], int], ...] = (
    *(
        (_change_message, 6),
        (_change_header, 2),
        (_change_address, 6),
        (_change_index, 4),
        (_change_superblock, 1),
    ),
)


def mat_structure(scene: Scene) -> None:
    """Changes of what the bytes mean: messages, addresses, indices of groups."""
    mat = _any_mat(scene)
    content = bytearray(mat.content)
    changes, weights = zip(*MAT_CHANGES, strict=True)
    for change in scene.rng.choices(changes, weights, k=scene.rng.choice((1, 1, 1, 2, 4))):
        change(scene, mat, content)
    place(scene, bytes(content))


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    "mat bytes": (mat_bytes, 8),
    "mat structure": (mat_structure, 14),
}
