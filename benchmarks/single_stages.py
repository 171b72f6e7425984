"""python benchmarks/single_stages.py STAGE ...: one stage, alone, in a process of its own; prints JSON.

parse MAT                      digitStruct.mat through svhn_jax's reader
common-h5py MAT COUNT          the same through the h5py code that SVHN projects copy from each other
pillow-loop ARCHIVE MAT COUNT  tarfile and Pillow in one process, photo by photo
ceiling ARCHIVE MAT COUNT      decoding and cropping alone, a process to a core, bytes already in memory
open DIR                       the finished arrays
"""

import io
import json
import multiprocessing
import os
import sys
import tarfile
import time
from collections.abc import Iterator
from itertools import islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from svhn_jax.data import arrays, crop, photos
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import digit_struct

MARGIN, SIZE = 0.3, 64  # preprocess's defaults

Result = dict[str, float]


def main() -> None:
    stage, path, *rest = sys.argv[1:]
    stages: dict[str, Any] = {
        "parse": parse,
        "common-h5py": common_h5py,
        "pillow-loop": pillow_loop,
        "ceiling": ceiling,
        "open": open_arrays,
    }
    print(json.dumps(stages[stage](Path(path), *rest)))


def parse(mat: Path) -> Result:
    start = time.perf_counter()
    records = digit_struct.read(mat)
    seconds = time.perf_counter() - start
    bad = sum(isinstance(record, Skipped) for record in records)
    return {"count": len(records), "bad": bad, "seconds": seconds}


def common_h5py(mat: Path, count: str) -> Result:
    """As in the code most copied; records are taken at equal distances over the whole file."""
    file: Any = h5py.File(mat, "r")
    name, bbox = file["digitStruct"]["name"], file["digitStruct"]["bbox"]

    def values(attribute: Any) -> list[float]:
        if len(attribute) > 1:
            return [file[attribute[()][j].item()][()][0][0] for j in range(len(attribute))]
        return [attribute[()][0][0]]

    start = time.perf_counter()
    rows = np.linspace(0, len(name) - 1, min(int(count), len(name))).astype(int)
    records = []
    for row in rows:
        item = file[bbox[row].item()]
        record: dict[str, Any] = {
            field: values(item[field]) for field in ("height", "label", "left", "top", "width")
        }
        record["name"] = "".join(chr(code[0]) for code in file[name[row][0]][()])
        records.append(record)
    return {"count": len(records), "seconds": time.perf_counter() - start}


def _numbers(mat: Path) -> dict[str, np.ndarray]:
    """The boxes of every photo."""
    return {
        record.name: record.boxes for record in digit_struct.read(mat) if isinstance(record, Record)
    }


def _contents(archive: Path, count: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the archive's first photos, as tarfile gives them."""
    with tarfile.open(archive) as tar:
        for member in islice(tar, int(count)):
            content = tar.extractfile(member)
            if content and member.name.endswith(".png"):
                yield member.name.rpartition("/")[2], content.read()


def pillow_loop(archive: Path, mat: str, count: str) -> Result:
    """The archive's first photos; the boxes are known beforehand. Beyond the photo's edge Pillow fills in black."""
    boxes = _numbers(Path(mat))
    start = time.perf_counter()
    crops = []
    for name, content in _contents(archive, count):
        number = crop.union(boxes[name])
        if number:
            photo = Image.open(io.BytesIO(content)).convert("RGB")
            box = [round(edge) for edge in crop.expand(number, MARGIN)]
            crops.append(
                np.asarray(photo.crop((box[0], box[1], box[2], box[3])).resize((SIZE, SIZE)))
            )
    return {"count": len(crops), "seconds": time.perf_counter() - start}


def ceiling(archive: Path, mat: str, count: str) -> Result:
    """svhn_jax's own decoding and cropping of the archive's first photos."""
    boxes = _numbers(Path(mat))
    sample = [(content, crop.union(boxes[name])) for name, content in _contents(archive, count)]
    jobs = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(jobs), context.Queue()
    workers = [
        context.Process(target=_decode_and_crop, args=(sample[job::jobs], barrier, answers))
        for job in range(jobs)
    ]
    for worker in workers:
        worker.start()
    seconds = max(answers.get() for _ in workers)
    for worker in workers:
        worker.join()
    return {"count": len(sample), "seconds": seconds}


def _decode_and_crop(sample: list[tuple[bytes, crop.Box]], barrier: Barrier, answers: Any) -> None:
    """Puts the seconds its photos took, once all processes stand ready."""
    barrier.wait()
    start = time.perf_counter()
    for content, number in sample:
        crop.crop_number(photos.decode_photo(content), number, margin=MARGIN, size=SIZE)
    answers.put(time.perf_counter() - start)


def open_arrays(folder: Path) -> Result:
    start = time.perf_counter()
    splits = [arrays.load_split(folder, split) for split in arrays.read_manifest(folder)["splits"]]
    seconds = time.perf_counter() - start
    return {"count": sum(len(split.images) for split in splits), "seconds": seconds}


if __name__ == "__main__":
    main()
