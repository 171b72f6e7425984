"""What fuzzed inputs are made from, and the folder in which one of them is tried.

CASE/raw/       what --raw names
CASE/out/set    what --to names
CASE/outside/   a neighbour that nothing may change, and nothing in raw/ may lead into
CASE/tmp/       for temporary files; empty in the end
"""

import gzip
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from svhn_jax.data.records import Record

MAT = "digitStruct.mat"
INTERESTING = (
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


class Mat(NamedTuple):
    """The bytes of a digitStruct.mat, and what is known of them.

    live: the ranges of bytes that a reader of its records may come by; objects: the addresses in it of
    object headers, counted from `base`.
    """

    content: bytes
    live: tuple[range, ...]
    objects: tuple[int, ...]
    base: int


@dataclass(frozen=True)
class Material:
    """A sound split, from which the inputs are made.

    photos: by name, in the order of the records; mats: the same records in several layouts;
    prepared: a folder with raw/, out/set/ and unfinished/, a build that was killed half-way.
    """

    photos: dict[str, bytes]
    records: list[Record]
    mats: dict[str, Mat]
    prepared: Path


@dataclass
class Scene:
    """One input being made: a maker fills `raw`, and says here what it knows of the outcome.

    split: of the archive or folder made; options: of the command, beside --raw and --to; records: in the
    digitStruct.mat, where that is certain; is_sound: nothing is wrong, so the command must succeed.
    """

    folder: Path
    rng: random.Random
    material: Material
    split: str = "train"
    options: list[str] = field(default_factory=list)
    records: int | None = None
    is_sound: bool = False
    without_privileges: bool = False
    """whether file permissions are to hold for root too"""

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def to(self) -> Path:
        return self.folder / "out" / "set"

    @property
    def outside(self) -> Path:
        return self.folder / "outside"

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    def set_up(self) -> None:
        """Makes the folders, and a split and options drawn at random."""
        for path in (self.raw, self.to.parent, self.outside, self.tmp):
            path.mkdir(parents=True)
        name, content = next(iter(self.material.photos.items()))
        (self.outside / name).write_bytes(content)
        (self.outside / MAT).write_bytes(self.material.mats["ours"].content)
        (self.outside / "secret.txt").write_text("secret\n")
        self.split = self.rng.choice(("train", "extra", "test"))
        self.options = ["--size", self.rng.choice(("16", "64"))]
        if self.rng.random() < 0.3:
            self.options += [
                "--validation-fraction",
                "0.5",
                "--margin",
                self.rng.choice(("0", "0.3", "10")),
            ]

    def files(self, changed: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
        """The sound photos and digitStruct.mat, some of them changed."""
        return {**self.material.photos, MAT: self.material.mats["ours"].content, **(changed or {})}

    def write_archive(self, tar: bytes) -> None:
        (self.raw / f"{self.split}.tar.gz").write_bytes(gzip.compress(tar, 1, mtime=0))

    def write_folder(self, files: Mapping[str, bytes]) -> Path:
        folder = self.raw / self.split
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder


def mutated(content: bytes, rng: random.Random, within: tuple[range, ...] = ()) -> bytes:
    """The bytes with one to eight small changes, inside the given ranges; their number stays."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.choice(within) if within else range(len(changed))
        if not place or place.start >= len(changed):
            continue
        at = rng.randrange(place.start, min(place.stop, len(changed)))
        kind = rng.random()
        if kind < 0.4:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind < 0.6:
            changed[at] = rng.randrange(256)
        else:
            width = rng.choice((1, 2, 4, 8))
            value = (rng.choice(INTERESTING) % 2 ** (8 * width)).to_bytes(
                width, rng.choice(("little", "big"))
            )
            changed[at : at + width] = value[: len(changed) - at]
    return bytes(changed)


def respliced(content: bytes, rng: random.Random) -> bytes:
    """The bytes cut short, or with a piece of them taken out, repeated, moved over another or made zero."""
    start = rng.randrange(len(content) + 1)
    length = rng.choice((1, 8, 64, 512, 4096, len(content) // 4 or 1))
    piece, rest = content[start : start + length], content[start + length :]
    at = rng.randrange(len(content) + 1)
    return rng.choice(
        (
            content[:start],
            content[:start] + rest,
            content[:start] + piece + piece + rest,
            content[:at] + piece + content[at + len(piece) :],
            content[:start] + bytes(len(piece)) + rest,
            content + piece,
        )
    )
