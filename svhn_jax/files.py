"""What the package does with files beyond reading them: locks, whole writes, checksums, the user's cache folder."""

import fcntl
import hashlib
import os
import socket
from pathlib import Path
from typing import IO

from svhn_jax.errors import InputError, printable

REMOTE = ("gs://", "s3://")  # how the path of a bucket begins
ATTEMPTS = 1000


def hold_lock(path: Path, place: str | Path, doing: str) -> IO[str]:
    """Takes the lock at `path` until the returned file is closed or the process ends.

    The folder of `path` is made where it is missing.

    Raises:
      InputError: another process holds it: "PLACE: process 12 on HOST DOING".
    """
    for _ in range(ATTEMPTS):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never through a link: its target would be overwritten.
        number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        file = open(number, "a+")  # noqa: SIM115 - held open by the caller
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = printable(file.read().strip()) or "another process"
            file.close()
            raise InputError(f"{place}: {owner} {doing}") from None
        if _is_still_at(path, file):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            return file
        file.close()  # the last owner removed it meanwhile
    raise InputError(f"{path}: cannot be locked; is it on a file system that knows no locks?")


def user_cache() -> Path:
    """The folder of this user's caches, ~/.cache/svhn_jax or $XDG_CACHE_HOME/svhn_jax; made if it is missing.

    Raises:
      OSError: there is no home folder, or it cannot be written.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # the specification of XDG has a relative path ignored
        home = os.path.expanduser("~")
        if not os.path.isabs(home) or not os.path.isdir(home):
            raise FileNotFoundError(f"no home folder {home!r} for caches; let XDG_CACHE_HOME name a folder")
        root = os.path.join(home, ".cache")
    made = Path(root) / "svhn_jax"
    made.mkdir(parents=True, exist_ok=True)
    return made


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Waits until the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, or replaces it, as a whole: whatever happens, the old or the new text is there."""
    unfinished = path.with_name(f"{path.name}.partial")
    with open(unfinished, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # or a power cut may leave the new name without the content
    unfinished.replace(path)


def _is_still_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
