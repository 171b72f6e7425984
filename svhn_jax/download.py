"""python -m svhn_jax.download --to DIR: downloads the archives of SVHN Format 1, and verifies them.

An archive is written to NAME.tar.gz.part and renamed when its size and SHA-256 are right. Run
the same command again to resume an interrupted download; complete archives are verified and not
downloaded again. Proxies are taken from http_proxy, https_proxy and no_proxy.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
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
    for split, (size, checksum, _) in archives.items():
        target = folder / f"{split}.tar.gz"
        part = target.with_name(f"{target.name}.part")
        url = f"{base_url.rstrip('/')}/{target.name}"
        if target.exists() and target.stat().st_size == size and files.sha256(target) == checksum:
            terminal.print(f"{target} is complete")
            continue
        with (
            open(part, "ab") as file,
            terminal.progress(target.name, size, "bytes") as advance,
        ):
            files.check_space(part, size - file.tell())
            advance(file.tell())
            failures = 0
            while (start := file.tell()) < size:
                reason = _receive(url, file, size, advance)
                failures = 1 if file.tell() > start else failures + 1
                if reason and failures == MAX_FAILURES:
                    raise InputError(
                        f"{url}: {reason} at byte {start:,} of {size:,}, {failures} times; check "
                        "the network, the proxy and --base-url, then run the same command again"
                    )
                if reason:
                    pause(2.0**failures)
        if (found := files.sha256(part)) != checksum:
            part.unlink()
            raise InputError(
                f"{url}: SHA-256 {found}, not {checksum}; deleted. Run the same command again; if "
                "that fails too, give another --base-url"
            )
        part.replace(target)
        terminal.print(f"{target}: {size:,} bytes, SHA-256 {checksum}")


def _receive(url: str, file: IO[bytes], size: int, advance: Callable[[int], object]) -> str:
    """Appends the bytes that the file lacks of `size`; returns why it failed, if it may pass.

    Raises:
      InputError: the server has another file, or none.
    """
    start = file.tell()
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
                    return "the connection was closed"
                with files.naming(Path(file.name)):
                    written = file.write(block[max(0, start - position) :])
                advance(written)
                position += len(block)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500 or error.code in (408, 429):
            return f"the server answers {error.code}"
        raise InputError(
            f"{url}: the server answers {error.code} {error.reason}; check --base-url"
        ) from None
    except (ValueError, http.client.InvalidURL) as error:  # no host name, or no port
        raise InputError(f"{url}: {error}; give another --base-url") from None
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "filename", None) == file.name:  # a full disk
            raise
        return str(getattr(error, "reason", error)) or type(error).__name__
    return ""


if __name__ == "__main__":
    cli.run(Options, main)
