"""Reads one split from SPLIT.tar.gz, without unpacking the photos.

The content of an archive is untrusted: no file is written under a member's name, and sizes are
checked before anything is read. A plain tar is read, too: some browsers unpack what they
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

from svhn_jax.data.photos import MAT_NAME, MAX_PHOTO_BYTES, OTHER_FILES, PHOTO_NAME
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources import digit_struct
from svhn_jax.errors import InputError, printable

SUFFIXES = (".tar.gz", ".tgz", ".tar")
MAX_MAT_BYTES = 2**32  # extra's 202,353 records take some 1.5 GB
MAX_HEADER_BYTES = 2**13  # of an extended header, which tarfile reads in quadratic time
HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
DAMAGE = (  # what gzip and tarfile raise; RecursionError: a header that describes another one
    *(tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error),
    *(ValueError, OverflowError, RecursionError),
)


class Archive:
    """SPLIT.tar.gz with SPLIT/N.png and SPLIT/digitStruct.mat."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split

    def records(self) -> list[Record | Skipped]:
        """Every record of digitStruct.mat, which is unpacked to a temporary file first."""
        with tempfile.NamedTemporaryFile(suffix=".mat") as file:
            self._copy_mat(file)
            return digit_struct.read(file.name, called=f"{self.path}: {self.split}/{MAT_NAME}")

    def _copy_mat(self, target: IO[bytes]) -> None:
        with self._members() as members:
            for member, content in members:
                if member.name.removeprefix("./") == f"{self.split}/{MAT_NAME}" and content:
                    shutil.copyfileobj(content, target, 2**20)
                    target.flush()
                    return
        raise InputError(
            f"{self.path}: no readable {self.split}/{MAT_NAME} in it; download the archive again"
        )

    def photos(self) -> Iterator[Photo]:
        with self._members() as members:
            for member, content in members:
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if member.isdir() or (folder == self.split and name in OTHER_FILES):
                    continue
                if problem := self._problem(folder, name, member):
                    shown = printable(name if folder == self.split else member.name)
                    yield Photo(shown, b"", problem)
                elif content:
                    yield Photo(name, content.read())

    def _problem(self, folder: str, name: str, member: tarfile.TarInfo) -> str:
        if folder != self.split:
            return f"not in {self.split}/"
        if not PHOTO_NAME.fullmatch(name):
            return "not the name of a photo"
        if not member.isfile():
            return "not a regular file"
        return f"larger than {MAX_PHOTO_BYTES} bytes" if member.size > MAX_PHOTO_BYTES else ""

    @contextmanager
    def _members(self) -> Iterator[Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]]:
        """Yields every member with its content, and reads to the archive's last byte.

        Raises:
          InputError: the archive is damaged.
        """
        try:
            # gzip checks its checksum at the end of the stream; tarfile's own "r|gz" does not.
            with (
                gzip.open(self.path) if _is_gzip(self.path) else open(self.path, "rb") as unpacked,
                tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Member) as archive,
            ):
                yield _walk(archive, unpacked)
        except DAMAGE as error:
            raise InputError(
                f"{self.path}: damaged or cut short ({printable(str(error))}); download it again"
            ) from None


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _walk(
    archive: tarfile.TarFile, unpacked: io.BufferedIOBase
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    while member := archive.next():
        archive.members.clear()  # type: ignore[attr-defined]  # or it would keep all 200,000
        _refuse_giant(member)  # an extended header may have changed its size
        yield member, archive.extractfile(member) if member.isfile() else None
    while unpacked.read(2**20):
        pass


def _refuse_giant(member: tarfile.TarInfo) -> None:
    """Raises ReadError: tarfile would search for its end long after the archive's."""
    limit = MAX_HEADER_BYTES if member.type in HEADERS else MAX_MAT_BYTES
    if not 0 <= member.size <= limit or member.type == tarfile.GNUTYPE_SPARSE:
        raise tarfile.ReadError(f"a member of type {member.type!r} and {member.size} bytes")


class _Member(tarfile.TarInfo):
    """A member whose header is checked: tarfile takes a damaged one for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        try:
            member = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a damaged member header: {error}") from None
        _refuse_giant(member)
        return member
