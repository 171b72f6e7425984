"""python benchmarks/find_photos.py: time and memory to find and read the number in photos without a box.

Each row is another process, which loads svhn_jax, makes a reader, and reads JPEG files of one size in turn: a synthetic number
in a synthetic scene, the same for every run. Start-up is the time from the start of the process to the reader; the first photo
also compiles the programs of its size, unless they are in the cache of compiled programs (--cold: an empty cache). CPU ms: the time of all
threads together, which other work on the cores does not change. The last line is JSON.
"""

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

SIZES = ((92, 53), (1280, 960), (4000, 3000))


@dataclass(frozen=True)
class Options:
    """Time and memory to find and read numbers."""

    photos: int = 20
    """read by each process"""
    cold: bool = True
    """also measure with an empty cache of compiled programs"""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    console = Console(highlight=False, markup=False)
    table = Table(
        "photo",
        "cache",
        "start-up s",
        "first photo s",
        "a photo ms: median",
        "least",
        "most",
        "CPU ms",
        "peak MB",
    )
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for size in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                for number in range(options.photos):
                    (Path(folder) / f"{number}.jpg").write_bytes(_jpeg(number, size))
                for is_cold in (True, False) if options.cold else (False,):
                    env = (
                        os.environ | {"JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(dir=cache)}
                        if is_cold
                        else None
                    )
                    row = _measured(folder, env) | {"size": list(size), "cold": is_cold}
                    rows.append(row)
                    name, kind = f"{size[0]} x {size[1]}", "empty" if is_cold else "warm"
                    times = (
                        f"{row[key]:.0f}"
                        for key in ("median_ms", "least_ms", "most_ms", "cpu_ms", "peak_mb")
                    )
                    table.add_row(
                        name, kind, f"{row['start_s']:.2f}", f"{row['first_s']:.2f}", *times
                    )
    console.print(table)
    print(json.dumps(rows))


def _jpeg(number: int, size: tuple[int, int]) -> bytes:
    from svhn_jax.data.synthetic.render import View, render
    from svhn_jax.finding import clutter, large_scenes

    rng = np.random.default_rng([9, number])
    near = (min(size[0], 200), min(size[1], 150))
    height = 0.5 * near[1]
    photo, _, _ = render(rng, view=View(near, height, (near[0] / 2, near[1] / 2)))
    if size != near and size[0] > 200:
        scene = large_scenes.empty(rng, size)
        photo = photo.resize((size[0] // 15, size[0] // 20), Image.Resampling.BICUBIC)
        clutter.paste(scene, photo, (size[0] // 2, size[1] // 3), 0.1)
        photo = scene
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _measured(folder: str, env: dict[str, str] | None) -> dict[str, float]:
    command = [sys.executable, __file__, "--worker", folder, str(time.time())]
    subprocess.run(
        command, env=env, check=True, capture_output=True
    )  # writes the cache of compiled programs, or not
    if env:
        for path in Path(env["JAX_COMPILATION_CACHE_DIR"]).iterdir():
            path.unlink()
    command[-1] = str(time.time())
    return dict(
        json.loads(
            subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
        )
    )


def worker(folder: str, started: float) -> None:
    """Reads every photo of the folder; prints one line of JSON."""
    import svhn_jax

    reader = svhn_jax.load()
    ready = time.time()
    times, used = [], []
    for path in sorted(Path(folder).iterdir()):
        begin, begin_used = time.perf_counter(), time.process_time()
        reader.read(path)
        times.append(time.perf_counter() - begin)
        used.append(time.process_time() - begin_used)
    later = np.array(times[1:]) * 1000
    result = {
        **{"start_s": ready - started, "first_s": times[0]},
        **{
            "median_ms": float(np.median(later)),
            "least_ms": float(later.min()),
            "most_ms": float(later.max()),
        },
        "cpu_ms": float(np.median(used[1:])) * 1000,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], float(sys.argv[3]))
    else:
        main()
