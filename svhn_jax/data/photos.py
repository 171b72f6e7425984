"""The photos of a split, out of SPLIT.tar.gz or an extracted SPLIT/ folder, without unpacking."""

import gzip
import hashlib
import io
import re
import tarfile
import tempfile
import warnings
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
MAX_MAT_BYTES = 2**32  # 2,000 records take 14 MB; extra has a hundred times as many
MAX_PHOTO_PIXELS = 2**25  # every published photo has less than 2**20; beyond this it is a bomb
MAT_NAME = "digitStruct.mat"
OTHER_FILES = (MAT_NAME, "see_bboxes.m")  # what a published archive holds besides photos


# Pillow warns at a lower size than ours and refuses at twice its own; ours is checked first and named.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


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
        for member in self._members(MAT_NAME):
            if not member.problem:
                with tempfile.NamedTemporaryFile(suffix=".mat") as mat:
                    mat.write(member.content)
                    mat.flush()
                    return list(digit_struct.read(mat.name, called=f"{self.path}: {self.split}/{MAT_NAME}"))
        raise InputError(f"{self.path}: no readable {self.split}/{MAT_NAME} in it; fetch the archive again")

    def photos(self) -> Iterator[Photo]:
        """Every photo, in the order it is stored."""
        if self.is_archive:
            yield from self._members()
            return
        for path in sorted(self.path.iterdir()):
            if path.name not in OTHER_FILES:
                if not PHOTO_NAME.fullmatch(path.name):
                    yield Photo(path.name, b"", "not the name of a photo")
                elif not path.is_file():
                    yield Photo(path.name, b"", "not a regular file")
                elif path.stat().st_size > MAX_PHOTO_BYTES:
                    yield Photo(path.name, b"", f"larger than {MAX_PHOTO_BYTES} bytes")
                else:
                    yield Photo(path.name, path.read_bytes())

    def _members(self, wanted: str = "") -> Iterator[Photo]:
        """Photos of the archive, or with `wanted` the files of that name. Reads to the archive's last byte."""
        limit = MAX_MAT_BYTES if wanted else MAX_PHOTO_BYTES
        try:
            # gzip checks its checksum at the end of the stream; tarfile's own "r|gz" does not.
            with gzip.open(self.path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    folder, _, name = member.name.removeprefix("./").rpartition("/")
                    is_wanted = name == wanted if wanted else name not in OTHER_FILES and not member.isdir()
                    if folder != self.split or not is_wanted:
                        continue
                    if not wanted and not PHOTO_NAME.fullmatch(name):
                        yield Photo(name, b"", "not the name of a photo")
                    elif not member.isfile():
                        yield Photo(name, b"", "not a regular file")
                    elif member.size > limit:
                        yield Photo(name, b"", f"larger than {limit} bytes")
                    else:
                        content = archive.extractfile(member)
                        yield Photo(name, content.read() if content else b"")
                while stream.read(2**20):
                    pass
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{self.path}: damaged or cut short ({error}); fetch it again") from None


def decode_photo(content: bytes) -> np.ndarray:
    """uint8[H, W, 3] of an image file's bytes.

    Raises:
      ValueError: no image, an image cut short, or one of absurd size.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_PHOTO_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PHOTO_PIXELS}")
            return np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MAX_PHOTO_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise ValueError("no readable PNG or JPEG image") from None
    except ValueError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, IndexError and others on damaged files
        raise ValueError(f"damaged image ({error})") from None
