"""python -m svhn_jax.synthesize --to DIR: rendered house numbers in the published raw layout.

Writes DIR/train.tar.gz and DIR/test.tar.gz, each with SPLIT/N.png and SPLIT/digitStruct.mat, as the
published archives have them. A photo depends on (seed, split, N) alone.
"""

import gzip
import io
import multiprocessing
import os
import signal
import tarfile
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

import svhn_jax
from svhn_jax.data import digit_struct, render
from svhn_jax.errors import InputError, run_command

SPLIT_SEEDS = {"train": 0, "test": 1}
RECEIPT = "synthetic-"


@dataclass(frozen=True)
class Options:
    """Renders synthetic house-number photos."""

    to: Path
    """folder for train.tar.gz and test.tar.gz"""
    train: int = 20_000
    """photos in train.tar.gz; 0 for none"""
    test: int = 2_000
    """photos in test.tar.gz; 0 for none"""
    seed: int = 0
    """another seed, other photos"""
    jobs: int = os.cpu_count() or 1
    """processes; the photos do not depend on it"""

    def __post_init__(self) -> None:
        for field, least in (("train", 0), ("test", 0), ("seed", 0), ("jobs", 1)):
            if getattr(self, field) < least:
                raise InputError(f"--{field} is {getattr(self, field)}; it must be at least {least}")
        if self.train + self.test == 0:
            raise InputError("--train and --test are both 0; nothing to make")


def main() -> None:
    options = tyro.cli(Options, prog="python -m svhn_jax.synthesize", description=__doc__)
    console = Console(highlight=False, markup=False)
    if options.to.exists() and not options.to.is_dir():
        raise InputError(f"{options.to}: a file stands there; give a folder")
    options.to.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", options.train), ("test", options.test)):
        if count:
            target = options.to / f"{split}.tar.gz"
            receipt = _receipt(count, options.seed)
            if _made_with(target) == receipt:
                console.print(f"{target} is up to date: {count:,} synthetic photos", soft_wrap=True)
                continue
            if target.exists() and not (_made_with(target) or "").startswith(RECEIPT):
                raise InputError(f"{target}: not made by this command; move it away, or give another --to")
            write_archive(target, split, count, seed=options.seed, jobs=options.jobs)
            console.print(f"{target}: {count:,} synthetic photos", soft_wrap=True)


def _receipt(count: int, seed: int) -> str:
    """What an archive was made with; the gzip header holds it as the name of the file inside."""
    return f"{RECEIPT}{svhn_jax.__version__}-{count}-{seed}.tar"


def _made_with(target: Path) -> str | None:
    """The receipt of an archive that is there; None if it is another's or there is none."""
    try:
        with open(target, "rb") as file:
            header = file.read(256)
    except FileNotFoundError:
        return None
    is_named = header[:2] == b"\x1f\x8b" and header[3:4] == b"\x08"
    return header[10:].split(b"\0")[0].decode("latin-1") if is_named else None


def write_archive(target: Path, split: str, count: int, *, seed: int, jobs: int) -> None:
    """Writes one split's archive; under its own name only when complete."""
    unfinished = target.with_name(f".{target.name}.partial")
    records = []
    try:
        with (
            open(unfinished, "wb") as file,
            gzip.GzipFile(_receipt(count, seed), "wb", compresslevel=1, fileobj=file, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w") as archive,
            multiprocessing.get_context("spawn").Pool(jobs, _leave_interrupts_to_the_parent) as pool,
        ):
            photos = pool.imap(partial(_photo, split, seed), range(1, count + 1), chunksize=64)
            for record, png in track(photos, description=f"{split}: rendering", total=count, transient=True):
                records.append(record)
                _add(archive, f"{split}/{record.name}", png)
            with tempfile.NamedTemporaryFile(suffix=".mat", dir=target.parent) as mat:
                digit_struct.write(mat.name, records)
                _add(archive, f"{split}/digitStruct.mat", Path(mat.name).read_bytes())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _photo(split: str, seed: int, number: int) -> tuple[digit_struct.Record, bytes]:
    rendering = render.render(np.random.default_rng([seed, SPLIT_SEEDS[split], number]))
    stream = io.BytesIO()
    rendering.photo.save(stream, "PNG", compress_level=1)
    return digit_struct.Record(f"{number}.png", rendering.digits, rendering.boxes.astype(float)), stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    run_command(main)
