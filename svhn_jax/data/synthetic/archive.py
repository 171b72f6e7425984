"""Writes SPLIT.tar.gz of synthetic photos in the published layout."""

import gzip
import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

import svhn_jax
from svhn_jax import files
from svhn_jax.data.records import Record
from svhn_jax.data.synthetic import digit_struct_writer, render, typesetting
from svhn_jax.data.workers import Workers
from svhn_jax.labels import DEFAULT_MAX_DIGITS

RECEIPT = "synthetic-"
STORED = 0  # gzip level: compressing PNG files takes as long as making them, and gains nothing


def receipt(count: int, seed: int, max_digits: int) -> str:
    """Identifies the photos of an archive; its gzip header stores it as a file name."""
    longer = f"-{max_digits}" if max_digits > typesetting.PUBLISHED_DIGITS else ""
    return f"{RECEIPT}{svhn_jax.__version__}-{render.VERSION}-{count}-{seed}{longer}.tar"


def made_with(archive: Path) -> str:
    """The receipt of an existing archive; "" if it does not exist, or `write` has not made it."""
    if not archive.exists():
        return ""
    with open(archive, "rb") as file:
        header = file.read(256)
    name = header[10:].split(b"\0")[0].decode("latin-1")
    return name if name.startswith(RECEIPT) else ""


def write(
    target: Path,
    split: str,
    count: int,
    *,
    seed: int,
    max_digits: int,
    workers: Workers,
    advance: Callable[[int], object],
) -> None:
    """Writes the archive of one split as a whole; calls `advance` with counts of photos."""
    records: list[Record] = []
    work = partial(photo_files, seed, split, max_digits=max_digits)
    with (
        files.replacing(target) as unfinished,
        open(unfinished, "wb") as file,
        gzip.GzipFile(receipt(count, seed, max_digits), "wb", STORED, file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for photos in workers.in_order(work, render.blocks(count)):
            for record, content in photos:
                records.append(record)
                _add(archive, f"{split}/{record.name}", len(content), io.BytesIO(content))
            advance(len(photos))
        with tempfile.NamedTemporaryFile(suffix=".mat", dir=target.parent) as mat:
            digit_struct_writer.write(mat.name, records)
            _add(archive, f"{split}/digitStruct.mat", os.path.getsize(mat.name), mat)


def photo_files(
    seed: int, split: str, numbers: range, max_digits: int = DEFAULT_MAX_DIGITS
) -> list[tuple[Record, bytes]]:
    """The records and PNG files of a split's photos with these numbers."""
    made = []
    for number in numbers:
        rendering = render.render(render.photo_rng(seed, split, number), split, max_digits)
        record = Record(f"{number}.png", rendering.digits, rendering.boxes.astype(np.float64))
        stream = io.BytesIO()
        rendering.photo.save(stream, "PNG", compress_level=1)
        made.append((record, stream.getvalue()))
    return made


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    archive.addfile(entry, content)
