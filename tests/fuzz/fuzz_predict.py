"""python tests/fuzz/fuzz_predict.py --pictures N --seed S: svhn_jax.predict on hostile pictures.

Makes N damaged and hostile pictures, links, folders and pipes, under names with line breaks, escape
sequences and bytes that are no UTF-8, and reads them in batches. Each must get one reading or one
line, a sound photo among them must be read as ever, and nothing else may change.
"""

import contextlib
import csv
import io
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fuzz_pictures
import numpy as np
from PIL import Image

from svhn_jax import cli, predict
from svhn_jax.checked import Checked
from svhn_jax.data.photos import SUFFIXES
from svhn_jax.output import Terminal

SOUND = "sound.png"
NAMES = (b"", b"", b" ", b"\n", b"\nerror: b", b"\x1b[2J", b"\xff\xfe", b"\xe2\x80\xae", b"-rf")
ODD = "link, folder, pipe"
OPTIONS = ([], ["--whole"], ["--min-confidence", "0.9"], ["--json"])
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
SLOWEST_S = 60.0  # of processor time, for a batch


@dataclass(frozen=True)
class Options(Checked):
    """Runs svhn_jax.predict on damaged and hostile pictures."""

    pictures: int = 1000
    """how many"""
    seed: int = 0
    """of all that is drawn: the same seed, the same pictures"""
    at_once: int = 40
    """pictures of one command"""


def main(options: Options, terminal: Terminal) -> int:
    rng = random.Random(options.seed)
    kinds = [*fuzz_pictures.kinds(options.pictures * 9 // 10, rng)]
    kinds += [ODD] * (options.pictures - len(kinds))
    rng.shuffle(kinds)
    counts, problems, first_reading = Counter[str](), list[str](), ""
    for start in range(0, len(kinds), options.at_once):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            batch = kinds[start : start + options.at_once]
            answers = _read(rng, {_put(rng, kind, i): kind for i, kind in enumerate(batch)})
            first_reading = first_reading or answers.sound
            problems += [f"pictures from {start}: {one}" for one in answers.problems]
            if answers.sound != first_reading:
                problems.append(f"pictures from {start}: the sound photo became {answers.sound}")
            counts += answers.counts
    terminal.print(*problems, *(f"{what}: {count:,}" for what, count in sorted(counts.items())))
    terminal.result({"pictures": len(kinds), "failures": len(problems)} | counts)
    return int(bool(problems))


@dataclass
class Answers:
    sound: str
    counts: Counter[str]
    problems: list[str]


def drawn_photos() -> list[bytes]:
    rng, photos = np.random.default_rng(0), []
    for width in (40, 60, 90):
        pixels = rng.integers(0, 60, (33, width, 3)) + np.linspace(0, 190, width)[:, None]
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
        photos.append(stream.getvalue())
    return photos


def _put(rng: random.Random, kind: str, index: int) -> str:
    """Makes a picture in the folder raw/; its name begins with its index."""
    Path("raw").mkdir(exist_ok=True)
    odd = b"" if kind == ODD else rng.choice((*NAMES, b"x" * 100))
    suffix = rng.choice((".png", ".jpg", *SUFFIXES)).encode()
    path = Path("raw", os.fsdecode(b"%04d" % index + odd + suffix))
    if kind != ODD:
        path.write_bytes(fuzz_pictures.KINDS[kind][0](rng, drawn_photos()))
    else:
        make = (Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name), Path.touch)
        rng.choice((*make, lambda path: path.symlink_to("/etc/hostname")))(path)
    return path.name


def _snapshot() -> dict[str, bytes | None]:
    files = [path for path in Path("raw").iterdir() if not path.is_symlink()]
    return {path.name: path.read_bytes() if path.is_file() else None for path in files}


def _read(rng: random.Random, kinds: dict[str, str]) -> Answers:
    Path("raw", SOUND).write_bytes(drawn_photos()[1])
    Path("out").mkdir()
    chosen, before, started = rng.choice(OPTIONS), _snapshot(), time.process_time()
    where = rng.choice((["raw"], ["raw/*"], [f"raw/{name}" for name in (*kinds, SOUND)]))
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        argv = [*where, *chosen, "--csv", "out/readings.csv", "--whole"]
        status = cli.call(predict.Options, predict.main, list(dict.fromkeys(argv)))
    is_named = len(where) > 1  # folders and patterns pass over folders
    asked = {name for name in kinds if is_named or not Path("raw", name).is_dir()}
    with open("out/readings.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        readings = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    refused = [line[11:15] for line in stderr.getvalue().splitlines()]
    seconds, printed = time.process_time() - started, stdout.getvalue() + stderr.getvalue()
    found = {
        f"ended with {status}, {len(refused)} refused": status != int(bool(refused)),
        f"took {seconds:.0f} s": seconds > SLOWEST_S,
        "control characters": bool(CONTROL.search(printed)),
        "files changed": _snapshot() != before,
    }
    problems = [what for what, is_so in found.items() if is_so]
    problems += _wrong_answers(asked, set(readings) - {SOUND}, refused, kinds)
    sound = readings.get(SOUND, {"reading": "refused", "confidence": ""})
    counts = Counter(f"{kinds[name]}: read" for name in readings.keys() & kinds)
    counts += Counter(f"{kinds[name]}: refused" for name in kinds if name[:4] in refused)
    return Answers(f"{sound['reading']} {sound['confidence']}", counts, problems)


def _wrong_answers(
    asked: set[str], read: set[str], refused: list[str], kinds: dict[str, str]
) -> Iterator[str]:
    """Photos without exactly one answer, and answers without a photo."""
    numbers = Counter([*(name[:4] for name in read), *refused])
    for name in sorted(asked):
        if (count := numbers.pop(name[:4], 0)) != 1:
            yield f"{count} answers to {name!r} ({kinds[name]})"
    yield from (f"an answer to nothing: {name!r}" for name in numbers)


if __name__ == "__main__":
    sys.exit(cli.call(Options, main))
