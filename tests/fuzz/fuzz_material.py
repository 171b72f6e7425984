"""The sound material that fuzzed inputs are made from: real photos and records, or drawn ones."""

import io
import itertools
import os
import random
import shutil
import sys
import tarfile
from pathlib import Path

import fuzz_inputs_tar
import fuzz_run
import h5py
import numpy as np
from fuzz_scene import MAT, Mat, Material, Scene
from h5py import h5o
from PIL import Image

from svhn_jax.data import photos
from svhn_jax.data.records import Record
from svhn_jax.data.sources import digit_struct
from svhn_jax.data.synthetic import digit_struct_writer
from svhn_jax.errors import InputError

sys.path.append(str(Path(__file__).parents[1]))
import archives

COUNT = 8
GAP_BYTES = 2**16  # further apart than the objects of a few records ever are
FIELDS = ("height", "label", "left", "top", "width")
STOPPED = 9  # the status of the build that is stopped half-way


def make(folder: Path, real: Path | None) -> Material:
    """The material, of the first photos of REAL/test.tar.gz, or of drawn ones; `folder` is for what is kept on disk."""
    folder.mkdir(parents=True)
    content, records, mats = photos_and_records(folder, real)
    digit_struct_writer.write(folder / "ours.mat", records)
    archives.write_mat(
        folder / "latest.mat", [(record.name, columns(record)) for record in records], "latest"
    )
    mats |= {
        name: _mat((folder / f"{name}.mat").read_bytes(), len(records))
        for name in ("ours", "latest")
    }
    material = Material(content, records, mats, folder / "prepared")
    _prepare(material)
    return material


def photos_and_records(
    folder: Path, real: Path | None
) -> tuple[dict[str, bytes], list[Record], dict[str, Mat]]:
    """The sound photos, their records, and the digitStruct.mat of real ones; `folder` exists."""
    return _real(real, folder) if real else _drawn()


def columns(record: Record) -> dict[str, list[float]]:
    """The fields of a record as MATLAB has them."""
    boxes = dict(zip(("left", "top", "width", "height"), record.boxes.T.tolist(), strict=True))
    return {"label": [float(digit or 10) for digit in record.digits], **boxes}


def _drawn() -> tuple[dict[str, bytes], list[Record], dict[str, Mat]]:
    rng, content, records = np.random.default_rng(0), {}, []
    for number in range(1, COUNT + 1):
        digits = tuple(int(digit) for digit in rng.integers(0, 10, rng.integers(1, 7)))
        height, width = int(rng.integers(20, 50)), 12 * len(digits) + 20
        pixels = rng.integers(0, 60, (height, width, 3)) + np.linspace(0, 190, width)[:, None]
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
        content[f"{number}.png"] = stream.getvalue()
        boxes = [[10 + 12 * i - 0.5, 3, 11, height - 6] for i in range(len(digits))]
        records.append(Record(f"{number}.png", digits, np.array(boxes, float)))
    return content, records, {}


def _real(real: Path, folder: Path) -> tuple[dict[str, bytes], list[Record], dict[str, Mat]]:
    with tarfile.open(real / "test.tar.gz") as archive:
        found = archive.extractfile(f"test/{MAT}")
        if not found:
            raise InputError(f"{real}: test.tar.gz holds no digitStruct.mat")
        (folder / "real.mat").write_bytes(found.read())
        records = digit_struct.read(folder / "real.mat")[:COUNT]
        names = [record.name for record in records]
        content = {
            name: stream.read() for name in names if (stream := archive.extractfile(f"test/{name}"))
        }
    return (
        content,
        [r for r in records if isinstance(r, Record)],
        {"matlab": _cut((folder / "real.mat").read_bytes())},
    )


def _cut(content: bytes) -> Mat:
    """MATLAB's own bytes of the first records: two shapes are changed, and what only the others need is zeros."""
    changed = bytearray(content)
    with h5py.File(io.BytesIO(content)) as file:
        base = file.userblock_size
        for name in ("name", "bbox"):
            column = file["digitStruct"][name]
            header = base + h5o.get_info(column.id).addr
            shape = column.shape[0].to_bytes(8, "little") + (1).to_bytes(8, "little")
            at = content.index(shape, header, header + 300)
            changed[at : at + 8] = COUNT.to_bytes(8, "little")
    mat = _mat(bytes(changed), COUNT)
    for before, after in itertools.pairwise(mat.live):
        changed[before.stop : after.start] = bytes(after.start - before.stop)
    return mat._replace(content=bytes(changed))


def _mat(content: bytes, count: int) -> Mat:
    """Finds the objects of the first `count` records, and the ranges they lie in."""
    with h5py.File(io.BytesIO(content)) as file:
        base, struct = file.userblock_size, file["digitStruct"]
        found = [file["/"], file["#refs#"], struct, struct["name"], struct["bbox"]]
        for name, box in zip(struct["name"][:count, 0], struct["bbox"][:count, 0], strict=True):
            fields = [file[box][field] for field in FIELDS]
            many = [field for field in fields if field.dtype == h5py.ref_dtype]
            found += [
                file[name],
                file[box],
                *fields,
                *(file[ref] for field in many for ref in field[:, 0]),
            ]
        addresses = sorted({h5o.get_info(item.id).addr for item in found})
        data = [item.id.get_offset() for item in found if isinstance(item, h5py.Dataset)]
    places = sorted({base, *(base + address for address in addresses), *(at for at in data if at)})
    starts = [
        0,
        *(after for before, after in itertools.pairwise(places) if after - before > GAP_BYTES),
    ]
    stops = [
        *(before for before, after in itertools.pairwise(places) if after - before > GAP_BYTES),
        places[-1],
    ]
    live = tuple(
        range(max(0, start - 1024), min(stop + 1536, len(content)))
        for start, stop in zip(starts, stops, strict=True)
    )
    return Mat(content, live, tuple(addresses), base)


def _prepare(material: Material) -> None:
    """Runs the command on the sound split, once to its end and once to the photo in the middle of the second source."""
    scene = Scene(material.prepared, random.Random(0), material)
    scene.set_up()
    scene.options = ["--size", "16"]
    for scene.split in ("train", "test"):
        scene.write_archive(fuzz_inputs_tar.tar_of(fuzz_inputs_tar.members(scene, scene.files())))
    finished = fuzz_run.run(scene, material.prepared / "log")
    if finished.status != 0:
        raise InputError(f"the sound material is refused: {finished.stderr}")
    done = scene.to.rename(material.prepared / "done")
    decode, decoded = photos.decode_photo, itertools.count()

    def stop(content: bytes) -> Image.Image:
        if next(decoded) == COUNT * 3 // 2:
            os._exit(STOPPED)
        return decode(content)

    photos.decode_photo = stop
    stopped = fuzz_run.run(scene, material.prepared / "log")
    photos.decode_photo = decode
    if stopped.status != STOPPED:
        raise InputError(f"the build was not stopped: {stopped}")
    (scene.to.parent / f".{scene.to.name}.partial").rename(material.prepared / "unfinished")
    shutil.rmtree(scene.to.parent)
    done.rename(material.prepared / "set")
