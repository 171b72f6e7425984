"""python -m svhn_jax.download --to DIR: downloads the archives of SVHN Format 1, and verifies them.

An archive is written to NAME.tar.gz.part and renamed when its size and SHA-256 are right. Run
the same command again to resume an interrupted download; complete archives are verified and not
downloaded again. Proxies are taken from http_proxy, https_proxy and no_proxy.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import svhn_jax
from svhn_jax import cli, files
from svhn_jax.checked import Checked
from svhn_jax.cli import Splits
from svhn_jax.data.sources import published
from svhn_jax.data.sources.published import Published
from svhn_jax.errors import InputError
from svhn_jax.output import SILENT, Terminal

TIMEOUT_S = 30.0  # without a byte
MAX_FAILURES = 5  # in a row without a byte
BLOCK_BYTES = 2**18


@dataclass(frozen=True)
class Options(Checked):
    """Downloads the archives of SVHN Format 1 and verifies their checksums."""

    to: Path
    """folder for train.tar.gz, test.tar.gz and extra.tar.gz"""
    splits: Splits = ()
    """the archives to download"""
    base_url: str = published.BASE_URL
    """http or https address of the folder that has the archives, such as a mirror"""


class _Failure(Exception):
    """A failed attempt; another one may succeed."""


def main(options: Options, terminal: Terminal) -> None:
    archives = {split: published.ARCHIVES[split] for split in options.splits or published.ARCHIVES}
    terminal.print(f"{published.LICENCE} {published.CITATION}")
    fetch_archives(options.to, archives, options.base_url, terminal=terminal)
    made = {
        split: {"path": str(options.to / f"{split}.tar.gz"), **archive._asdict()}
        for split, archive in archives.items()
    }
    terminal.result({"archives": made})


def fetch_archives(
    folder: Path,
    archives: dict[str, Published],
    base_url: str,
    *,
    terminal: Terminal = SILENT,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Makes SPLIT.tar.gz in `folder` for each split of `archives`; complete ones stay as they are.

    pause: waits that many seconds before the next attempt.

    Raises:
      InputError: the fault and its remedy. The bytes that have come stay, unless their checksum is
        wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, archive in archives.items():
        target = folder / f"{split}.tar.gz"
        part = target.with_name(f"{target.name}.part")
        url = f"{base_url.rstrip('/')}/{target.name}"
        if target.exists() and not archive.problem_of(target):
            terminal.print(f"{target} is complete")
            continue
        with (
            open(part, "ab", buffering=0) as file,
            terminal.progress(target.name, archive.bytes, "bytes") as advance,
        ):
            files.check_space(part, archive.bytes - file.tell())
            _fetch(url, file, archive.bytes, advance, pause)
        if problem := archive.problem_of(part):
            part.unlink()
            raise InputError(
                f"{url}: {problem}; deleted. Run the same command again; if that fails too, "
                "give another --base-url"
            )
        part.replace(target)
        terminal.print(f"{target}: {archive.bytes:,} bytes, SHA-256 {archive.sha256}")


def _fetch(
    url: str,
    file: IO[bytes],
    size: int,
    advance: Callable[[int], object],
    pause: Callable[[float], None],
) -> None:
    """Appends to a file the bytes that it lacks of the `size` bytes of an archive."""
    failures, shown = 0, 0
    while (start := file.tell()) < size:
        try:
            for block in _receive(url, start, size):
                with files.naming(Path(file.name)):
                    while block:  # a full disk takes a part of it
                        block = block[file.write(block) :]
                advance(file.tell() - shown)
                shown = file.tell()
        except _Failure as failure:
            failures = 1 if file.tell() > start else failures + 1
            if failures == MAX_FAILURES:
                raise InputError(
                    f"{url}: {failure} at byte {start:,} of {size:,}, {failures} times; check the "
                    "network, the proxy and --base-url, then run the same command again to resume"
                ) from None
            pause(2.0**failures)


def _receive(url: str, start: int, size: int) -> Iterator[bytes]:
    """Yields the bytes `start` to `size` of a file in blocks.

    Raises:
      _Failure: the connection failed, or the server asks to try again.
      InputError: the server has another file, or none.
    """
    headers = {"User-Agent": f"svhn_jax/{svhn_jax.__version__}", "Range": f"bytes={start}-"}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            position = start if response.status == 206 else 0  # 200: the whole file
            total = position + int(response.headers["Content-Length"] or size - position)
            if total != size:
                raise InputError(f"{url}: has {total} bytes, not {size}; give another --base-url")
            while position < size:
                block = response.read1(min(BLOCK_BYTES, size - position))
                if not block:
                    raise _Failure("the connection was closed")
                yield block[max(0, start - position) :]
                position += len(block)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500 or error.code in (408, 429):
            raise _Failure(f"the server answers {error.code}") from None
        raise InputError(
            f"{url}: the server answers {error.code} {error.reason}; check --base-url"
        ) from None
    except (ValueError, http.client.InvalidURL) as error:  # no host name, or no port
        raise InputError(f"{url}: {error}; give another --base-url") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Failure(str(getattr(error, "reason", error)) or type(error).__name__) from None


if __name__ == "__main__":
    cli.run(Options, main)
