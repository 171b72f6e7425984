"""Reads one split from SPLIT.tar.gz, without unpacking the photos.

No file is written under a member's name. A plain tar is read, too: some browsers unpack what they
download.
"""

import gzip
import io
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from svhn_jax.data.photos import MAT_NAME, MAX_PHOTO_BYTES, SUFFIXES
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources import digit_struct
from svhn_jax.errors import InputError, printable

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
MAX_MEMBER_BYTES = 2**33  # tarfile would search for its end long after the archive's
DAMAGE = (  # what gzip and tarfile raise; RecursionError: a header that describes another one
    *(tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error),
    *(ValueError, OverflowError, RecursionError),
)


def records(path: Path, split: str) -> list[Record | Skipped]:
    """Every record of SPLIT/digitStruct.mat, which is unpacked to a temporary file first."""
    called = f"{path}: {split}/{MAT_NAME}"
    with tempfile.NamedTemporaryFile(suffix=".mat") as file, _members(path, split) as members:
        for name, _, content in members:
            if name == MAT_NAME and content:
                shutil.copyfileobj(content, file, 2**20)
                file.flush()
                return digit_struct.read(file.name, called=called)
    raise InputError(f"{called}: no such file in it; download the archive again")


def photos(path: Path, split: str) -> Iterator[Photo]:
    """Every photo, in the order of the archive; links and devices are none."""
    with _members(path, split) as members:
        for name, size, content in members:
            if not name.lower().endswith(SUFFIXES):
                continue
            if content is None:
                yield Photo(name, b"", "not a regular file")
            elif size > MAX_PHOTO_BYTES:
                yield Photo(name, b"", f"larger than {MAX_PHOTO_BYTES} bytes")
            else:
                yield Photo(name, content.read())


@contextmanager
def _members(path: Path, split: str) -> Iterator[Iterator[tuple[str, int, IO[bytes] | None]]]:
    """Yields the name without SPLIT/, size and content of every member.

    Raises:
      InputError: the archive is damaged.
    """
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        # gzip checks its checksum at the end of the stream; tarfile's own "r|gz" does not.
        with (
            gzip.open(path) if is_gzip else open(path, "rb") as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as archive,
        ):
            yield _walk(archive, unpacked, split)
    except DAMAGE as error:
        raise InputError(
            f"{path}: damaged or cut short ({printable(str(error))}); download it again"
        ) from None


def _walk(
    archive: tarfile.TarFile, unpacked: io.BufferedIOBase, split: str
) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Reads to the archive's last byte."""
    while member := archive.next():
        archive.members.clear()  # type: ignore[attr-defined]  # or it would keep all 200,000
        if member.size > MAX_MEMBER_BYTES:
            raise tarfile.ReadError(f"a member of {member.size} bytes")
        name = member.name.removeprefix("./").removeprefix(f"{split}/")
        yield name, member.size, archive.extractfile(member) if member.isfile() else None
    while unpacked.read(2**20):
        pass
