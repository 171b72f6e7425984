"""SVHN Format 1 material and commands for the tests; nothing here uses the code under test."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parent.parent
MAT = "digitStruct.mat"


def fields(number: str, boxes: list[list[float]]) -> dict[str, list[float]]:
    """The MATLAB fields of a record: label 10 for the digit 0, one column of each box field."""
    left, top, width, height = map(list, zip(*boxes, strict=True))
    digits = [float(digit) or 10.0 for digit in number]
    return {"label": digits, "left": left, "top": top, "width": width, "height": height}


def write_mat(
    path: Path,
    records: list[tuple[str, dict[str, list[float]]]],
    libver: str = "earliest",
    kind: str = "<f8",
) -> None:
    """A digitStruct.mat of any fields, wrong ones too, whose numbers have the type `kind`.

    Record i has the name /#refs#/name{i} and the box /#refs#/box{i}. MATLAB's layout is that of
    libver "earliest".
    """
    with h5py.File(path, "w", libver=libver) as file:
        names = file.create_dataset("digitStruct/name", (len(records), 1), h5py.ref_dtype)
        boxes = file.create_dataset("digitStruct/bbox", (len(records), 1), h5py.ref_dtype)
        for i, (name, columns) in enumerate(records):
            codes = np.frombuffer(name.encode("utf-16-le", "surrogatepass"), np.uint16)[:, None]
            names[i, 0] = file.create_dataset(f"#refs#/name{i}", data=codes).ref
            group = file.create_group(f"#refs#/box{i}")
            boxes[i, 0] = group.ref
            for field, values in columns.items():
                if len(values) == 1:
                    group[field] = np.array([values], kind)
                    continue
                target = group.create_dataset(field, (len(values), 1), h5py.ref_dtype)
                for j, value in enumerate(values):
                    target[j, 0] = file.create_dataset(
                        f"#refs#/{field}{i}_{j}", data=np.array([[value]], kind)
                    ).ref


def mat_bytes(
    folder: Path, records: list[tuple[str, dict[str, list[float]]]], libver: str = "earliest"
) -> bytes:
    write_mat(folder / "made.mat", records, libver)
    content = (folder / "made.mat").read_bytes()
    (folder / "made.mat").unlink()
    return content


def png(color: tuple[int, int, int] = (200, 30, 40), size: tuple[int, int] = (40, 24)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, "PNG")
    return stream.getvalue()


def upright(form: str, **options) -> bytes:
    """A photo, 40 x 20 as it lies in the file, whose left half is white."""
    image = Image.new("RGB", (40, 20))
    image.paste((255, 255, 255), (0, 0, 20, 20))
    stream = io.BytesIO()
    (image.convert("1") if form == "XBM" else image).save(stream, form, **options)
    return stream.getvalue()


def tar_gz(path: Path, members: dict[str, bytes | str], compresslevel: int = 1) -> Path:
    """An archive of the given members; a str is the target of a symbolic link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        gzip.open(path, "wb", compresslevel) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def write_split(raw: Path, split: str, files: dict[str, bytes], *, as_archive: bool = True) -> None:
    """RAW/SPLIT.tar.gz or RAW/SPLIT/ with the given files."""
    if as_archive:
        tar_gz(
            raw / f"{split}.tar.gz", {f"{split}/{name}": content for name, content in files.items()}
        )
        return
    (raw / split).mkdir(parents=True)
    for name, content in files.items():
        (raw / split / name).write_bytes(content)


def color_of(number: str) -> tuple[int, int, int]:
    """A colour of the number's own, so that a crop tells which number it should show."""
    value = 7 * int(number)
    return value % 251, value // 251 % 251, len(number) * 40


def split_files(folder: Path, numbers: list[str]) -> dict[str, bytes]:
    """Photos 1.png, 2.png, ... in one colour each, and their digitStruct.mat."""
    records = [
        (f"{i}.png", fields(number, [[4.0 + 6 * j, 6, 6, 12] for j in range(len(number))]))
        for i, number in enumerate(numbers, 1)
    ]
    photos = {f"{i}.png": png(color_of(number)) for i, number in enumerate(numbers, 1)}
    return photos | {MAT: mat_bytes(folder, records)}


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: its modification time and bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in tree(folder).items()}


def run_python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """python ARGUMENTS as a user types it, this checkout on the path."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, check=False
    )
