"""python -m svhn_jax.download --to DIR: downloads the archives of SVHN Format 1, and verifies them.

An archive is written to NAME.tar.gz.part and renamed when its size and SHA-256 are right. If the
download is interrupted, run the same command again to resume it; complete archives are verified and not
downloaded again. Proxies are taken from http_proxy, https_proxy and no_proxy.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import fcntl
import http.client
import io
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

import svhn_jax
from svhn_jax import command_line, files, output
from svhn_jax.checked import URL, Checked
from svhn_jax.data.sources import published
from svhn_jax.data.sources.published import Archive
from svhn_jax.errors import InputError, run_command
from svhn_jax.options import OptionalPath, OutputOptions, Splits
from svhn_jax.output import Output

TIMEOUT_S = 30.0  # without a byte: for the connection, the response, and each read of it
MAX_FAILURES = 5  # attempts in a row without progress
RESERVE_BYTES = 100_000_000  # of the disk to leave free
BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Options(Checked):
    """Downloads the archives of SVHN Format 1 and verifies their checksums."""

    to: Path
    """folder for train.tar.gz, test.tar.gz and extra.tar.gz"""
    splits: Splits = ()
    """the archives to download"""
    base_url: Annotated[str, URL] = published.BASE_URL
    """http or https address of the folder that has the archives, such as a mirror"""
    checksums: OptionalPath = None
    """file with a line `SHA-256 BYTES NAME.tar.gz` for each archive, if they are not the published ones"""
    output: OutputOptions = field(default_factory=Output)


class _Failure(Exception):
    """A failed attempt; another one may succeed."""


def main() -> None:
    options = command_line.parse(Options, "python -m svhn_jax.download", __doc__ or "")
    console = output.console(options.output)
    archives = (
        published.read_checksums(options.checksums) if options.checksums else published.ARCHIVES
    )
    splits: tuple[str, ...] = options.splits or tuple(archives)
    if unknown := [split for split in splits if split not in archives]:
        raise InputError(
            f"{options.checksums}: names no {unknown[0]}.tar.gz; add its line, or leave out the split"
        )
    console.print(f"{published.LICENCE} {published.CITATION}", soft_wrap=True)
    fetch_archives(
        options.to, {split: archives[split] for split in splits}, options.base_url, console
    )
    paths = {split: str(options.to / f"{split}.tar.gz") for split in splits}
    result = {split: {"path": paths[split]} | archives[split]._asdict() for split in splits}
    output.print_json(options.output, {"archives": result})


def fetch_archives(
    folder: Path,
    archives: Mapping[str, Archive],
    base_url: str,
    console: Console,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Makes SPLIT.tar.gz in `folder` for each split of `archives`; those that are complete stay as they are.

    Args:
      pause: waits that many seconds before the next attempt.

    Raises:
      InputError: what went wrong, with the remedy. What has come by then stays, unless its checksum is wrong.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder")
    missing = []
    for split, archive in archives.items():
        target = folder / f"{split}.tar.gz"
        problem = archive.problem_of(target) if target.exists() else "not there"
        if not problem:
            console.print(f"{target} is complete: {archive}", soft_wrap=True)
            continue
        if target.exists():
            console.print(
                f"{target}: {problem}; it is kept until the right one is downloaded", soft_wrap=True
            )
        missing.append((target, archive))
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    _require_space(folder, missing)
    for target, archive in missing:
        _fetch(f"{base_url.rstrip('/')}/{target.name}", target, archive, console, pause)


def _require_space(folder: Path, missing: list[tuple[Path, Archive]]) -> None:
    rest = 0
    for target, archive in missing:
        part = Path(f"{target}.part")
        part.touch()  # report a folder that cannot be written before too little space
        rest += max(0, archive.bytes - part.stat().st_size)
    free = shutil.disk_usage(folder).free
    if rest and free < rest + RESERVE_BYTES:
        raise InputError(
            f"{folder}: needs {(rest + RESERVE_BYTES) / 1e9:.2f} GB, {free / 1e9:.2f} GB free there; "
            "free some, give another --to, or fewer --splits"
        )


def _fetch(
    url: str, target: Path, archive: Archive, console: Console, pause: Callable[[float], None]
) -> None:
    """Downloads the missing bytes of one archive, verifies it, and renames it."""
    with _opened_alone(Path(f"{target}.part")) as part, _progress_bar(console) as progress:
        if _length(part) > archive.bytes:  # of another archive
            part.truncate(0)
        failures, furthest = 0, _length(part)
        task = progress.add_task(target.name, total=archive.bytes, completed=furthest)
        if furthest < archive.bytes:
            console.print(f"{url}: from byte {furthest:,} of {archive.bytes:,}", soft_wrap=True)
        while _length(part) < archive.bytes:
            try:
                for length in _request(url, part, archive.bytes):
                    progress.update(task, completed=length)
            except _Failure as failure:
                # Progress means more bytes than ever before: a server may start over, and stop, each time.
                failures = 0 if _length(part) > furthest else failures + 1
                furthest = max(furthest, _length(part))
                what = f"{failure} at {_length(part):,} of {archive.bytes:,} bytes"
                if failures == MAX_FAILURES:
                    raise InputError(
                        f"{url}: {what}, {failures} times without progress; check the network, the proxy "
                        "and --base-url, then run the same command again to resume"
                    ) from None
                console.print(f"{target.name}: {what}; again in {2**failures} s", soft_wrap=True)
                pause(2.0**failures)
        progress.update(task, description=f"{target.name}: verifying")
        if problem := archive.problem_of(Path(part.name)):
            os.unlink(part.name)
            raise InputError(
                f"{part.name}: {problem}; deleted. Run the same command again; if that fails too, "
                f"{url} is not the expected archive: give another --base-url"
            )
        files.sync(Path(part.name))
        os.replace(part.name, target)
    console.print(f"{target}: {archive}", soft_wrap=True)


@contextmanager
def _opened_alone(path: Path) -> Iterator[io.FileIO]:
    """Opens a .part file to append to, unbuffered, with a lock against other downloads."""
    with open(path, "ab", buffering=0) as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another download may have renamed the file between our open and our lock: never write to that one.
            is_ours = os.path.samestat(os.fstat(part.fileno()), os.stat(path))
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:
            raise InputError(
                f"{path}: another download writes it; wait for it, or stop it, and try again"
            )
        yield part


def _progress_bar(console: Console) -> Progress:
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(
        *columns, console=console, transient=True, disable=console.quiet or not console.is_terminal
    )


def _length(file: io.FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _request(url: str, part: io.FileIO, size: int) -> Iterator[int]:
    """Sends one request for the bytes that `part` lacks of `size`; appends them and yields the length reached.

    It sends no If-Range, so that another mirror can complete a .part file: the known size and SHA-256 find a
    wrong file more reliably than an ETag.

    Raises:
      _Failure: the connection failed, or the server asks to try again.
      InputError: the server has another file or none, or the disk is full.
    """
    with _open(url, part) as response:
        total: int | None = response.length
        if response.status == 206:
            match = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "")
            )
            if not match or int(match[1]) != _length(part):
                part.truncate(0)
                raise _Failure("the server sent a wrong range; starting over")
            total = None if match[2] == "*" else int(match[2])
        if total not in (None, size):
            raise InputError(
                f"{url}: has {total:,} bytes, expected {size:,}; give another --base-url"
            )
        if response.status != 206:  # the whole file, whatever the request
            part.truncate(0)
        while (length := _length(part)) < size:
            try:
                block = response.read1(
                    min(BLOCK_BYTES, size - length)
                )  # never past the expected size
            except (OSError, http.client.HTTPException) as error:
                raise _Failure(_words(error)) from None
            if not block:
                raise _Failure("the connection was closed")
            _append(part, block)
            yield _length(part)


def _open(url: str, part: io.FileIO) -> http.client.HTTPResponse:
    """The successful response to a GET of the bytes after those in `part`."""
    start = _length(part)
    headers = {"User-Agent": f"svhn_jax/{svhn_jax.__version__}"} | (
        {"Range": f"bytes={start}-"} if start else {}
    )
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answers {error.code} {error.reason}"
        if error.code == 416:  # no such range
            part.truncate(0)
        if error.code >= 500 or error.code in (408, 416, 429):
            raise _Failure(answer) from None
        raise InputError(f"{url}: {answer}; check --base-url and the proxy") from None
    except (ValueError, http.client.InvalidURL) as error:  # no host name, or no port
        raise InputError(f"{url}: {error}; give another --base-url") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Failure(_words(error)) from None
    if not isinstance(response, http.client.HTTPResponse):
        raise InputError(
            f"{url}: leads to {response.url}; give an http or https address as --base-url"
        )
    return response


def _words(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _append(part: io.FileIO, block: bytes) -> None:
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[part.write(rest) :]
    except OSError as error:
        remedy = (
            f"correct that, then run the same command again to resume at {_length(part):,} bytes"
        )
        raise InputError(f"{part.name}: {error.strerror}; {remedy}") from None


if __name__ == "__main__":
    interrupts.raise_interrupts()
    run_command(main)
