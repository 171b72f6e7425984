"""One writer at a time: a lock file that the operating system releases when its owner ends, however it ends."""

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from svhn_jax.errors import InputError, printable

ATTEMPTS = 1000


def hold(path: Path, place: str | Path, doing: str) -> IO[str]:
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


def _is_still_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
