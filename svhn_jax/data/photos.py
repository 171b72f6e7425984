"""The photos of a split, out of SPLIT.tar.gz or an extracted SPLIT/ folder, without unpacking."""

import hashlib
import io
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from svhn_jax.data import digit_struct
from svhn_jax.errors import InputError

PHOTO_NAME = re.compile(r"[A-Za-z0-9_-]+\.(png|jpg|jpeg)", re.IGNORECASE)
MAX_PHOTO_BYTES = 32 * 2**20
MAX_PHOTO_PIXELS = 2**25  # the largest published photo has 2**19; beyond this it is a bomb
MAT_NAME = "digitStruct.mat"


class Photo(NamedTuple):
    """A file of the split: its name without the folder, its bytes, or why they cannot be had."""

    name: str
    content: bytes
    problem: str = ""


class SplitSource:
    """One split as published: SPLIT.tar.gz where there is one, else the folder SPLIT/."""

    def __init__(self, raw: Path, split: str):
        self.split = split
        archive, folder = raw / f"{split}.tar.gz", raw / split
        self.is_archive = archive.is_file()
        self.path = archive if self.is_archive else folder
        if not self.path.exists():
            raise InputError(f"{raw}: holds neither {split}.tar.gz nor {split}/; give the folder with the archives")

    def fingerprint(self) -> str:
        """SHA-256 of the archive's bytes; of a folder, that of digitStruct.mat and every file's name and size."""
        digest = hashlib.sha256()
        if self.is_archive:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        for path in sorted(path for path in self.path.iterdir() if path.is_file()):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        if (self.path / MAT_NAME).is_file():
            digest.update((self.path / MAT_NAME).read_bytes())
        return digest.hexdigest()

    def records(self) -> list[digit_struct.Record | digit_struct.BadRecord]:
        """Every record of the split's digitStruct.mat, in file order."""
        if not self.is_archive:
            return list(digit_struct.read(self.path / MAT_NAME))
        for member, content in self._members(wanted=MAT_NAME):
            if not member.problem:
                with tempfile.NamedTemporaryFile(suffix=".mat") as mat:
                    mat.write(content)
                    mat.flush()
                    return list(digit_struct.read(mat.name))
        raise InputError(f"{self.path}: no {self.split}/{MAT_NAME} in it; fetch the archive again")

    def photos(self) -> Iterator[Photo]:
        """Every photo, in the order it is stored."""
        if self.is_archive:
            for photo, _ in self._members(wanted=None):
                yield photo
            return
        for path in sorted(self.path.iterdir()):
            if PHOTO_NAME.fullmatch(path.name):
                if not path.is_file():
                    yield Photo(path.name, b"", "not a regular file")
                elif path.stat().st_size > MAX_PHOTO_BYTES:
                    yield Photo(path.name, b"", f"larger than {MAX_PHOTO_BYTES} bytes")
                else:
                    yield Photo(path.name, path.read_bytes())

    def _members(self, wanted: str | None) -> Iterator[tuple[Photo, bytes]]:
        """Photos of the archive, or with `wanted` the one file of that name."""
        try:
            with tarfile.open(self.path, "r|gz") as archive:
                for member in archive:
                    folder, _, name = member.name.removeprefix("./").rpartition("/")
                    is_wanted = name == wanted if wanted else PHOTO_NAME.fullmatch(name)
                    if folder != self.split or not is_wanted:
                        continue
                    if not member.isfile():
                        yield Photo(name, b"", "not a regular file"), b""
                    elif not wanted and member.size > MAX_PHOTO_BYTES:
                        yield Photo(name, b"", f"larger than {MAX_PHOTO_BYTES} bytes"), b""
                    else:
                        stream = archive.extractfile(member)
                        content = stream.read() if stream else b""
                        yield Photo(name, content), content
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise InputError(f"{self.path}: damaged or cut short ({error}); fetch it again") from None


def decode_photo(content: bytes) -> np.ndarray:
    """uint8[H, W, 3] of an image file's bytes.

    Raises:
      ValueError: no image, an image cut short, or one of absurd size.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PHOTO_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PHOTO_PIXELS}")
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise ValueError("no image in a known format") from None
    except (OSError, SyntaxError, zlib.error, EOFError, MemoryError) as error:
        raise ValueError(f"damaged image ({error})") from None
