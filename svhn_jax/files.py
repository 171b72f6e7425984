"""Helpers for files: the lock, atomic writes, checksums, the user's cache folder."""

import errno
import fcntl
import hashlib
import os
import platform
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from svhn_jax.errors import InputError, printable
from svhn_jax.output import SILENT, Terminal

REMOTE = ("gs://", "s3://")  # how the path of a bucket begins
# What a file system without locks answers: Lustre without -o flock, NFS without lockd, some FUSE.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def hold_lock(path: Path, doing: str, terminal: Terminal = SILENT) -> IO[str]:
    """Takes the lock at `path` until the returned file is closed or the process ends.

    Creates the folder of `path`. On a file system without locks it warns and goes on.

    Raises:
      InputError: another process holds the lock: "FOLDER: process 12 on HOST DOING".
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = printable(file.read().strip()) or "another process"
        file.close()
        raise InputError(f"{path.parent}: {owner} {doing}") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        terminal.warn(
            f"{path.parent}: this file system has no locks ({error.strerror}); "
            "do not start a second process that writes there"
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`; False where the file system has no locks."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


def user_cache() -> Path:
    """$XDG_CACHE_HOME/svhn_jax, or ~/.cache/svhn_jax."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "svhn_jax"


def use_compilation_cache() -> None:
    """JAX keeps at most 1 GiB of compiled programs in the user's cache, unless told otherwise.

    A program compiled for one kind of CPU may not run on another: each kind has its own folder.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
        kind = hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:8]
        folder = user_cache() / "compiled" / kind
        folder.mkdir(exist_ok=True, parents=True)
    except OSError:
        return
    if jax := sys.modules.get("jax"):
        if not jax.config.values["jax_compilation_cache_dir"]:
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_compilation_cache_max_size", 2**30)
    elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2**30)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError of the block names `path`, the user's, in place of a temporary file or none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def require_writable(path: Path) -> None:
    """Tries to write where `path`, a file or a folder, is to be written, and leaves nothing.

    Raises:
      OSError: it cannot be written; names `path`.
    """
    place = path.absolute() if path.is_dir() else path.absolute().parent
    folder = next(one for one in (place, *place.parents) if one.exists())
    with naming(path), tempfile.TemporaryFile(dir=folder):
        pass


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes or replaces a file as a whole; see `replacing`."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields the path of a file to write beside `path`, which it replaces unless the block raises.

    A kill leaves the old file or the new one. Of two processes at once, the last one's stays.

    Raises:
      OSError: it cannot be written; names `path`.
    """
    # Random, as hosts share folders; a name has at most 255 bytes.
    unfinished = path.with_name(f"{path.name[:40]}.{secrets.token_hex(8)}.partial")
    try:
        with naming(path):
            yield unfinished
            unfinished.replace(path)
    finally:
        with suppress(OSError):  # a read-only file system raises even if there is no such file
            unfinished.unlink()


def check_space(folder: Path, needed: int) -> None:
    """Raises InputError if fewer than `needed` bytes are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder.parent}: needs {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free; "
            "free some space, or write elsewhere"
        )
