"""python tests/fuzz/fuzz_data.py --inputs N --seed S: svhn_jax.preprocess on damaged and hostile
input.

Each input is a sound split with a few things changed. The command runs in a process of its own,
in which it also does the work of its worker processes. It must end in time, with a data set that
names every photo, or with one line on stderr, and must change nothing but its own. A crash of a
C library is counted: a worker that crashes is one line.
"""

import contextlib
import gzip
import io
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_pictures
import numpy as np
from fuzz_pictures import mutated, respliced
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))
import archives

from svhn_jax import cli, preprocess
from svhn_jax.checked import Checked
from svhn_jax.data import arrays, preparing
from svhn_jax.data.sources import digit_struct
from svhn_jax.data.workers import Workers
from svhn_jax.output import Terminal

MAT, COUNT, LIMIT_S, MEMORY = "digitStruct.mat", 8, 20.0, 2**32


@dataclass(frozen=True)
class Options(Checked):
    """Runs svhn_jax.preprocess on damaged and hostile input."""

    inputs: int = 1000
    """how many"""
    seed: int = 0
    """of all draws: the same seed, the same inputs"""
    only: int | None = None
    """the number of one of them, to try alone"""


@dataclass
class Material:
    """A sound split: photos by name, and the same records in several layouts."""

    photos: dict[str, bytes]
    mats: list[bytes]


def material_of(folder: Path) -> Material:
    numbers = [str(7**n)[:6] for n in range(COUNT)]
    files = archives.split_files(folder, numbers)
    records = []
    for n, number in enumerate(numbers, 1):
        boxes = [[4.0 + 6 * i, 6, 6, 12] for i in range(len(number))]
        records.append((f"{n}.png", archives.fields(number, boxes)))
        image = np.random.default_rng(n).integers(0, 256, (24, 40, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "PNG")
        files[f"{n}.png"] = stream.getvalue()
    plain = files.pop(MAT)
    (folder / "plain.mat").write_bytes(plain)
    latest = archives.mat_bytes(folder, records, "latest")
    return Material(files, [plain, latest])


Known = set[str] | None
"""The names that the data set must hold or name as skipped; None where the input does not say."""


def _place(raw: Path, rng: random.Random, photos: dict[str, bytes], mat: bytes) -> Known:
    """An archive or folder of these files; of a folder, photos without a record are not named."""
    as_archive = rng.random() < 0.5
    archives.write_split(raw, "train", photos | {MAT: mat}, as_archive=as_archive)
    return set(photos) if as_archive else None


def mat_bytes(raw: Path, rng: random.Random, sound: Material) -> Known:
    content = rng.choice(sound.mats)
    for _ in range(rng.choice((1, 1, 4, 30))):
        content = (respliced if rng.random() < 0.1 else mutated)(content, rng)
    return _place(raw, rng, sound.photos, content)


def archive_bytes(raw: Path, rng: random.Random, sound: Material) -> Known:
    """Bytes changed, cut or moved, of the compressed stream or of the tar."""
    path = raw / "train.tar.gz"
    archives.write_split(raw, "train", sound.photos | {MAT: sound.mats[0]})
    packed, change = path.read_bytes(), rng.choice((mutated, respliced))
    plain = gzip.decompress(packed)
    zeros = gzip.compress(bytes(2**24), 9) * 8
    path.write_bytes(
        rng.choice(
            (change(packed, rng), gzip.compress(change(plain, rng), 1), change(plain, rng), plain,
             packed * 2, packed + rng.randbytes(50), packed + zeros, packed[:-8] + bytes(8), b"")
        )
    )  # fmt: skip
    return None


def pictures(raw: Path, rng: random.Random, sound: Material) -> Known:
    changed = dict(sound.photos)
    for name in rng.sample(sorted(changed), rng.choice((1, 2, COUNT))):
        kinds = [kind for kind in fuzz_pictures.KINDS if kind not in ("strange size", "animated")]
        make, _ = fuzz_pictures.KINDS[rng.choice(kinds)]
        changed[name] = make(rng, [*sound.photos.values()])
    return _place(raw, rng, changed, sound.mats[0])


def folder(raw: Path, rng: random.Random, sound: Material) -> Known:
    """Links, pipes, holes and folders of the names of photos."""
    archives.write_split(raw, "train", sound.photos | {MAT: sound.mats[0]}, as_archive=False)
    place = raw / "train"
    traps = {"fifo.png": os.mkfifo, "link.png": lambda path: path.symlink_to("/etc/hostname"),
             "dir.png": Path.mkdir, "self.png": lambda path: path.symlink_to(path.name),
             "big.png": lambda path: (path.touch(), os.truncate(path, 2**40))}  # fmt: skip
    for name, make in traps.items():
        path = place / (name if rng.random() < 0.7 else f"{rng.randrange(1, COUNT + 1)}.png")
        with contextlib.suppress(FileExistsError, IsADirectoryError):
            path.unlink(missing_ok=True)
            make(path)
    return set(sound.photos)


KINDS = (mat_bytes, archive_bytes, pictures, folder)


def run(raw: Path, log: Path, options: list[str]) -> int | None:
    """The exit status of the command in a fork, minus a signal; None: it took too long."""
    if not (pid := os.fork()):
        status = 70
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            sys.stdout, sys.stderr = open(os.devnull, "w"), open(2, "w", closefd=False)  # noqa: SIM115
            tempfile.tempdir = str(raw.parent)
            digit_struct.usable_cores, preparing.Workers = (lambda: 0), (lambda jobs: Workers(0))
            arguments = ["--raw", str(raw), "--to", str(raw.parent / "out" / "set"), "--size", "16"]
            status = cli.call(preprocess.Options, preprocess.main, [*arguments, *options])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    process = os.pidfd_open(pid)
    is_late = not select.select([process], [], [], LIMIT_S)[0]
    if is_late:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(process)
    return None if is_late else status


def problems(status: int | None, printed: str, known: Known, case: Path) -> list[str]:
    """What is wrong with a run; a crash is not, for a worker's crash is one line."""
    if status is None or status == 70:
        return [f"status {status}: {printed[-300:]}"]
    first, *rest = printed.splitlines() or [""]
    found = []
    if status == 1 and not (
        first.startswith("error: ") and all(one.startswith("line ") for one in rest)
    ):
        found.append(f"not one line of error: {printed[:300]!r}")
    if "Traceback" in printed or not all(line.isprintable() for line in printed.splitlines()):
        found.append(f"a traceback or control characters: {printed[-300:]!r}")
    if beside := {path.name for path in (case / "out").iterdir()} - {"set"}:
        found.append(f"left {beside}")
    if status == 0:
        named, damaged = names_in(case / "out" / "set")
        found += [f"{path} differs from its checksum" for path in damaged]
        if lost := (known or set()) - named:
            found.append(f"not accounted for: {sorted(lost)}")
    return found


def names_in(target: Path) -> tuple[set[str], list[str]]:
    """The photos that a data set holds or names as skipped; its damaged arrays."""
    manifest = arrays.read_manifest(target)
    named = {one["name"] for source in manifest["sources"].values() for one in source["skipped"]}
    for split in manifest["splits"]:
        arrays.load_geometry(target, split)
        named |= {
            name.decode().partition("/")[2] for name in arrays.load_split(target, split).names
        }
    return named, arrays.damaged_arrays(target)


def files_of(folder: Path) -> dict[str, Any]:
    small = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 2**26)
    return {str(path): path.read_bytes() for path in small if not path.is_symlink()}


def try_one(
    index: int, options: Options, sound: Material, work: Path
) -> tuple[str, str, list[str]]:
    """Makes an input and runs the command on it; its kind, outcome and problems."""
    rng, case = random.Random(f"{options.seed} {index}"), work / str(index)
    kind, raw, log = KINDS[index % len(KINDS)], case / "raw", work / "log"
    for path in (raw, case / "out"):
        path.mkdir(parents=True)
    known = kind(raw, rng, sound)
    before = files_of(raw)
    more = rng.choice(([], ["--skip-bad"], ["--validation-fraction", "0.5", "--margin", "10"]))
    status = run(raw, log, more)
    found = problems(status, log.read_text(errors="backslashreplace"), known, case)
    if files_of(raw) != before:
        found.append("the photos changed")
    shutil.rmtree(case)
    outcome = {0: "prepared", 1: "one line"}.get(status or 0, "crashed" if status else "late")
    return kind.__name__, outcome if status is not None else "late", found


def main(options: Options, terminal: Terminal) -> int:
    counts, failures = Counter[str](), 0
    with tempfile.TemporaryDirectory() as work:
        digit_struct.usable_cores = lambda: 0  # in this process, too: nothing here starts others
        (Path(work) / "material").mkdir()
        sound = material_of(Path(work) / "material")
        one = options.only
        for index in range(options.inputs) if one is None else [one]:
            kind, outcome, found = try_one(index, options, sound, Path(work))
            counts[f"{kind}: {outcome}"] += 1
            failures += bool(found)
            for one in found:
                terminal.print(f"input {index} ({kind}): {one}")
    for what, count in sorted(counts.items()):
        terminal.print(f"{what}: {count:,}")
    terminal.result({"inputs": options.inputs, "failures": failures} | counts)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(cli.call(Options, main))
