"""Reads one split from SPLIT.tar.gz, without unpacking the photos.

The content of an archive is untrusted: no file is ever written under a member's name, and sizes are
checked before anything is read.
"""

import gzip
import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from svhn_jax import files
from svhn_jax.data.photos import MAT_NAME, MAX_PHOTO_BYTES, OTHER_FILES, PHOTO_NAME, stamp
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources import digit_struct
from svhn_jax.errors import InputError, printable

MAX_MAT_BYTES = 2**32  # extra's 202,353 records take some 1.5 GB
MAX_EXPANSION, MIN_EXPANDED_BYTES = (
    100,
    2**30,
)  # of an archive; the published ones expand to 1.0-1.6 times their size
MAX_HEADER_BYTES = 2**13  # of a member's extended header, which tarfile reads in quadratic time
MAX_BAD_MEMBERS = 10_000


class Archive:
    """SPLIT.tar.gz with SPLIT/N.png and SPLIT/digitStruct.mat."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split
        self._sha256 = ""

    def stamp(self) -> str:
        return stamp([self.path])

    def fingerprint(self) -> str:
        """SHA-256 of the archive's bytes."""
        if not self._sha256:
            self._sha256 = files.sha256(self.path)
        return self._sha256

    def records(self) -> list[Record | Skipped]:
        """Every record of the split's digitStruct.mat, which is unpacked to a temporary file first."""
        with (
            tempfile.TemporaryFile() as file
        ):  # it has no name, so that nothing is left after a kill
            self._copy_mat(file)
            by_number = f"/proc/{os.getpid()}/fd/{file.fileno()}"
            return digit_struct.read(by_number, called=f"{self.path}: {self.split}/{MAT_NAME}")

    def _copy_mat(self, target: IO[bytes]) -> None:
        folder = tempfile.gettempdir()
        with self._members() as members:
            for member, content in members:
                if member.name.removeprefix("./") == f"{self.split}/{MAT_NAME}" and member.isfile():
                    free = shutil.disk_usage(folder).free
                    if member.size > free:
                        raise InputError(
                            f"{folder}: {MAT_NAME} needs {member.size / 1e9:.2f} GB while it is read and "
                            f"{free / 1e9:.2f} GB are free; free some space, or set TMPDIR to another folder"
                        )
                    while block := content.read(2**20):
                        target.write(block)
                    target.flush()
                    return
        raise InputError(
            f"{self.path}: no readable {self.split}/{MAT_NAME} in it; download the archive again"
        )

    def photos(self) -> Iterator[Photo]:
        bad = 0
        with self._members() as members:
            for member, content in members:
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if member.isdir() or (folder == self.split and name in OTHER_FILES):
                    continue
                problem = self._problem(folder, name, member)
                bad += bool(problem)
                if bad > MAX_BAD_MEMBERS:
                    raise InputError(
                        f"{self.path}: more than {MAX_BAD_MEMBERS:,} members are not photos of {self.split}/; "
                        "give an SVHN archive"
                    )
                if problem:
                    yield Photo(
                        printable(name if folder == self.split else member.name), b"", problem
                    )
                else:
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
    def _members(self) -> Iterator[Iterator[tuple[tarfile.TarInfo, IO[bytes]]]]:
        """Yields every member and its content, in order, and reads to the archive's last byte.

        Raises:
          InputError: the archive is damaged.
        """
        try:
            # gzip checks its checksum at the end of the stream; tarfile's own "r|gz" does not.
            with gzip.open(self.path) as unpacked:
                stream = _Bounded(
                    unpacked, max(MIN_EXPANDED_BYTES, MAX_EXPANSION * self.path.stat().st_size)
                )
                with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
                    yield _walk(archive, stream)
        except (
            *(tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, OverflowError),
            RecursionError,  # tarfile calls itself for a header that describes another one
        ) as error:
            raise InputError(
                f"{self.path}: damaged or cut short ({printable(str(error))}); download it again"
            ) from None


def _walk(
    archive: tarfile.TarFile, stream: "_Bounded"
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    while member := archive.next():
        archive.members.clear()  # type: ignore[attr-defined]  # or it would keep all 200,000
        _refuse_unreadable(member)
        yield member, (archive.extractfile(member) if member.isfile() else None) or io.BytesIO()
    while stream.read(2**20):
        pass


def _refuse_unreadable(member: tarfile.TarInfo) -> None:
    """Raises ReadError for a huge member: tarfile would search for its end long after the end of the archive."""
    limit = MAX_HEADER_BYTES if member.type in _HEADERS else MAX_MAT_BYTES
    if not 0 <= member.size <= limit or member.type == tarfile.GNUTYPE_SPARSE:
        raise tarfile.ReadError(f"a member of type {member.type!r} and {member.size} bytes")


class _Bounded(io.BufferedIOBase):
    """A stream that raises ReadError after more bytes than any normal archive has."""

    def __init__(self, stream: gzip.GzipFile, limit: int):
        self._stream, self._limit, self._taken = stream, limit, 0

    def read(self, size: int | None = -1) -> bytes:
        block = self._stream.read(size)
        self._taken += len(block)
        if self._taken > self._limit:
            raise tarfile.ReadError(f"expands to more than {self._limit} bytes")
        return block


class _Member(tarfile.TarInfo):
    """A member whose header is checked; tarfile takes a damaged header for the archive's end, and reads any size into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        try:
            member = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a damaged member header: {error}") from None
        _refuse_unreadable(member)
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise tarfile.ReadError("a sparse file")


_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
