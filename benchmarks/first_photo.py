"""python benchmarks/first_photo.py: what reading a photo costs, from the start of the command and in a running reader.

Makes a 12-megapixel JPEG that lies on its side, as phones store it, with a synthetic number of about a twentieth of its width.
Times svhn_jax.predict on it with its box, several runs in turn, with an empty cache of compiled programs and with a filled
one; peak memory is that of the process. Then, in one process, svhn_jax.load and each further photo. Prints milliseconds.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from svhn_jax.data.crop import Box, union
from svhn_jax.data.synthetic import render

SIZE = (4032, 3024)
RUNS = 5
READ = """
import sys, time
path, box, runs = sys.argv[1], tuple(map(float, sys.argv[2].split(","))), int(sys.argv[3])
times = [time.perf_counter()]
import svhn_jax
times.append(time.perf_counter())
reader = svhn_jax.load()
times.append(time.perf_counter())
for _ in range(runs):
    reader.read(path, box)
    times.append(time.perf_counter())
print(*(1000 * (after - before) for before, after in zip(times, times[1:])))
"""


def make_photo(path: Path) -> tuple[str, Box]:
    """Writes the photo; returns its number, and the number's box in the upright photo."""
    rng = render.photo_rng(0, "test", 1)
    photo, digits, boxes = render.render(rng, "test")
    box = union(boxes.astype(float))
    assert box
    scale = SIZE[0] / 20 / (box.right - box.left)
    photo = photo.resize(
        (round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC
    )
    wall = Image.fromarray(rng.integers(60, 200, (24, 32, 3)).astype(np.uint8)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    noisy = np.clip(
        np.asarray(wall) + rng.normal(0, 6, (SIZE[1], SIZE[0], 1)), 0, 255
    )  # a camera's; it costs JPEG bytes
    scene, corner = Image.fromarray(noisy.astype(np.uint8)), (SIZE[0] // 2, SIZE[1] // 2)
    scene.paste(photo, corner)
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.rotate(90, expand=True).save(path, quality=92, exif=exif)
    left, top = corner[0] + box.left * scale, corner[1] + box.top * scale
    width, height = (box.right - box.left) * scale, (box.bottom - box.top) * scale
    return "".join(map(str, digits)), Box(left, top, left + width, top + height)


def run_command(path: Path, box: str, cache: Path) -> tuple[float, float]:
    """Milliseconds and peak megabytes of one run of the command."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "svhn_jax.predict", str(path), "--box", box, "--quiet"]
    process = subprocess.Popen(command, env=os.environ | {"XDG_CACHE_HOME": str(cache)})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    return 1000 * (time.perf_counter() - start), usage.ru_maxrss / 1024


def shown(values: list[float]) -> str:
    return f"median {statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")
        # In a process of its own: Linux counts the peak of the one that starts a command to the command's.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            number, place = pool.submit(make_photo, path).result()
        box = ",".join(f"{side:.1f}" for side in place.left_top_width_height())
        print(
            f"{SIZE[0]} x {SIZE[1]} pixels, {path.stat().st_size / 1e6:.1f} MB, {number} at {box}; {RUNS} runs in turn"
        )
        cold, warm = [], []
        for run in range(RUNS):
            cache = Path(folder, f"cache-{run}")
            cache.mkdir()
            cold.append(run_command(path, box, cache))
            warm.append(run_command(path, box, cache))
        for name, runs in (("empty", cold), ("filled", warm)):
            times, sizes = map(list, zip(*runs, strict=True))
            print(f"the command, {name} cache: ms {shown(times)}; peak MB {shown(sizes)}")
        command = [sys.executable, "-c", READ, str(path), box, "20"]
        done = subprocess.run(
            command,
            env=os.environ | {"XDG_CACHE_HOME": str(cache)},
            capture_output=True,
            check=True,
        )
        first, load, *reads = map(float, done.stdout.split())
        print(
            f"import svhn_jax: ms {first:.0f}; load: ms {load:,.0f}; each of {len(reads)} photos: ms {shown(reads)}"
        )


if __name__ == "__main__":
    main()
