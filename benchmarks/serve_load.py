"""python benchmarks/serve_load.py: many users at once on the server of svhn_jax.serve, and what it takes.

Starts the server, and lets each user send one photo after another, as soon as the last one is answered. The photos are
synthetic ones, enlarged to --megapixels with the noise of a camera and stored turned, as phones do; or those of --photos.
An answer 503 is counted, and tried again after the time that the server names. Anything else but 200 is a failure. Each
minute is told apart, with the memory of the server and its decoding process (resident, shared pages counted twice).
The last line is JSON.
"""

import http.client
import io
import itertools
import json
import math
import platform
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import jax
import numpy as np
import psutil
import tyro
from PIL import ExifTags, Image
from rich.console import Console
from rich.table import Table

from svhn_jax.data.synthetic import render
from svhn_jax.errors import InputError, run_command

SAMPLE_S = 0.25
PHOTOS = 8  # different ones
NOISE = 4.0  # standard deviation of a camera's noise, of 255


@dataclass(frozen=True)
class Options:
    """Sends photos of many users to a server at once."""

    users: int = 20
    """clients, each of which sends one photo at a time"""
    minutes: int = 2
    """length"""
    megapixels: float = 12.0
    """size of the synthetic photos; 0: as small as those of the published set"""
    photos: Path | None = None
    """a folder of photos to send instead"""
    run: str | None = None
    """the folder of a trained run; by default the weights of the repository"""

    def __post_init__(self) -> None:
        if self.users < 1 or self.minutes < 1 or self.megapixels < 0:
            raise InputError("--users and --minutes must be at least 1, --megapixels at least 0")


@dataclass
class Minute:
    """What happened in one minute of the load."""

    latencies_s: list[float] = field(default_factory=list)
    busy: int = 0
    failures: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    contents = _photos(options)
    command = [sys.executable, "-m", "svhn_jax.serve", "--port", "0", "--json"]
    start = time.perf_counter()
    with subprocess.Popen(
        [*command, *(["--run", options.run] if options.run else [])], stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout
            line = server.stdout.readline()
            if not line:
                raise InputError("the server did not start; its terminal output says why")
            start_s = time.perf_counter() - start
            address = urlsplit(json.loads(line)["address"])
            process = psutil.Process(server.pid)
            _ask(address.netloc, contents[0])  # starts the decoding process
            before = _memory(process)
            minutes = _load(options, address.netloc, contents, process)
        finally:
            server.terminate()
    report = {
        "users": options.users,
        "photos_mb_median": round(statistics.median(map(len, contents)) / 1e6, 2),
        "start_s": round(start_s, 1),
        "memory_before_mb": round(before / 1e6),
        "minutes": [_figures(one) for one in minutes],
        "python": platform.python_version(),
        "jax": jax.__version__,
        "cpu_count": psutil.cpu_count(),
    }
    _print(report)
    for words in list(itertools.chain(*(one.failures for one in minutes)))[:5]:
        print(f"failure: {words}")
    print(json.dumps(report))
    return 1 if any(one.failures for one in minutes) else 0


def _load(
    options: Options, host: str, contents: list[bytes], process: psutil.Process
) -> list[Minute]:
    minutes = [Minute() for _ in range(options.minutes)]
    lock, begin = threading.Lock(), time.perf_counter()

    def now() -> Minute | None:
        place = int((time.perf_counter() - begin) / 60)
        return minutes[place] if place < len(minutes) else None

    def use(user: int) -> None:
        for content in itertools.cycle(
            contents[user % len(contents) :] + contents[: user % len(contents)]
        ):
            sent = time.perf_counter()
            while True:
                minute = now()
                if minute is None:
                    return
                status, wait_s, words = _ask(host, content)
                with lock:
                    if status == 200:
                        minute.latencies_s.append(time.perf_counter() - sent)
                    elif status == 503:
                        minute.busy += 1
                    else:
                        minute.failures.append(words)
                if status != 503:
                    break
                time.sleep(wait_s)

    threads = [threading.Thread(target=use, args=(user,)) for user in range(options.users)]
    for thread in threads:
        thread.start()
    while minute := now():
        minute.memory.append(_memory(process))
        time.sleep(SAMPLE_S)
    for thread in threads:
        thread.join()
    return minutes


def _ask(host: str, content: bytes) -> tuple[int, float, str]:
    """Status (0 without an answer), seconds to wait before another try, and what was said."""
    connection = http.client.HTTPConnection(host, timeout=120)
    try:
        connection.request("POST", "/read", content)
        answer = connection.getresponse()
        return answer.status, float(answer.getheader("Retry-After", "0")), answer.read(200).decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, 0.0, repr(error)
    finally:
        connection.close()


def _memory(process: psutil.Process) -> int:
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total


def _photos(options: Options) -> list[bytes]:
    if options.photos:
        contents = [
            path.read_bytes() for path in sorted(options.photos.iterdir()) if path.is_file()
        ]
        if not contents:
            raise InputError(f"{options.photos}: no photos")
        return contents
    return [_photo(number, options.megapixels) for number in range(1, PHOTOS + 1)]


def _photo(number: int, megapixels: float) -> bytes:
    """A JPEG file of a synthetic photo, stored turned by 90 degrees."""
    rng = render.photo_rng(0, "test", number)
    photo = render.render(rng, "test").photo
    if megapixels:
        photo = photo.resize(
            (round(math.sqrt(megapixels * 4e6 / 3)), round(math.sqrt(megapixels * 3e6 / 4)))
        )
        noise = rng.normal(0, NOISE, (photo.height, photo.width, 1)).astype(np.float32)
        photo = Image.fromarray((np.asarray(photo) + noise).clip(0, 255).astype(np.uint8))
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    about, file = Image.Exif(), io.BytesIO()
    about[ExifTags.Base.Orientation] = 6
    turned.save(file, "JPEG", quality=90, exif=about)
    return file.getvalue()


def _figures(minute: Minute) -> dict[str, float | int | None]:
    latencies = sorted(minute.latencies_s)
    return {
        "read": len(latencies),
        "busy_503": minute.busy,
        "failures": len(minute.failures),
        "latency_s_median": round(statistics.median(latencies), 3) if latencies else None,
        "latency_s_95": round(latencies[math.ceil(0.95 * len(latencies)) - 1], 3)
        if latencies
        else None,
        "latency_s_most": round(latencies[-1], 3) if latencies else None,
        "memory_peak_mb": round(max(minute.memory) / 1e6),
        "memory_end_mb": round(minute.memory[-1] / 1e6),
    }


def _print(report: dict[str, object]) -> None:
    minutes = report["minutes"]
    assert isinstance(minutes, list)
    table = Table("", *(f"minute {number}" for number in range(1, len(minutes) + 1)))
    for name in minutes[0]:
        table.add_row(name, *(f"{one[name]}" for one in minutes))
    console = Console(highlight=False)
    console.print(
        f"{report['users']} users; the server started in {report['start_s']} s, {report['memory_before_mb']} MB"
    )
    console.print(table)


if __name__ == "__main__":
    run_command(main)
