"""Fuzzed folders: labels.csv of one's own, and what may lie where a photo or digitStruct.mat should."""

import csv
import io
import os
import socket
from collections.abc import Callable
from pathlib import Path

from fuzz_scene import MAT, Scene, mutated, respliced

CELLS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1e3",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "12.5",
        "1_0",
        "0x10",
        "1e-9",
        "1000000",
        "1000001",
    ),
    *(
        "\u0661\u0662",
        "\u00b2",
        "\uff11",
        "5" * 30,
        "5" * 31,
        "1" * 5000,
        "+5",
        " 7 ",
        "7\u00a0",
        "=1+1",
        "\ufeff1",
    ),
    *(
        "../outside/1.png",
        "/etc/passwd",
        "..",
        ".",
        "./1.png",
        "sub/1.png",
        "1.png/",
        "1.png\x00",
        "a\x1b[2J.png",
    ),
    *(
        "\u00e9.png",
        "1.PNG",
        "labels.csv",
        '"',
        "a,b",
        "a\nerror: b",
        "x" * 300,
        "\u202e1.png",
        "link.png",
        "out.png",
    ),
    *("gone.png", "sparse.png", "fifo.png", "dir.png", "nan.png"),
)
TABLE = "file,label,left,top,width,height"
HEADERS = (
    "file,label",
    TABLE.upper(),
    "file;label",
    "FILE, Label",
    "",
    "label,file",
    "file,label,left",
)
ENCODINGS = (*("utf-8",) * 16, *("utf-8-sig",) * 4, "utf-16", "utf-32", "latin-1", "cp1252")
NEWLINES = (*("\n", "\r\n") * 8, "\r", "\n\n", "\x0b", "\x85", "\u2028")


def labels_csv(scene: Scene) -> None:
    """Rows, encodings, quotes and names, right and wrong, beside photos and traps of those names."""
    rng = scene.rng
    folder = scene.raw / scene.split if rng.random() < 0.5 else scene.raw
    folder.mkdir(exist_ok=True)
    for name, content in scene.material.photos.items():
        (folder / name).write_bytes(content)
    _add_traps(scene, folder)
    rows = [
        [record.name, "".join(map(str, record.digits)), *_box(scene)]
        for record in scene.material.records
    ]
    rows = (
        [row[: rng.choice((6, 6, 6, 6, 6, 6, 2))] for row in rows] if rng.random() < 0.1 else rows
    )
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(CELLS)
    stream, comma = io.StringIO(), rng.choice(",,,,,,;\t")
    csv.writer(stream, "excel", delimiter=comma, lineterminator=rng.choice(NEWLINES)).writerows(
        rows
    )
    header = rng.choice(HEADERS) if rng.random() < 0.15 else TABLE
    text = header.replace(",", comma) + rng.choice(NEWLINES[:17]) + stream.getvalue()
    text = rng.choice(
        (text,) * 30
        + (text + '"', text[:-3], text + "\x00", text * 3, "x," * 70_000, '"' + "a" * 200_000)
    )
    content = text.encode(rng.choice(ENCODINGS), "replace")
    change = rng.random()
    content = (
        mutated(content, rng)
        if change < 0.1
        else respliced(content, rng)
        if change < 0.2
        else content
    )
    (folder / "labels.csv").write_bytes(content)
    scene.options += rng.choice(([], ["--skip-bad"]))


def _box(scene: Scene) -> list[str]:
    return scene.rng.choice(
        (
            ["", "", "", ""],
            ["1", "2", "20", "12.5"],
            ["-3", "0", "5000", "8"],
            ["900", "900", "5", "5"],
        )
    )


def _add_traps(scene: Scene, folder: Path) -> None:
    (folder / "link.png").symlink_to("1.png")
    (folder / "out.png").symlink_to(scene.outside / "1.png")
    (folder / "dir.png").mkdir()
    with open(folder / "sparse.png", "wb") as file:
        file.truncate(2**40)
    os.mkfifo(folder / "fifo.png")


def _link_out(scene: Scene, path: Path) -> None:
    path.symlink_to(
        scene.rng.choice(
            (scene.outside / "1.png", scene.outside / MAT, Path("../../outside/1.png"))
        )
    )


def _link_astray(scene: Scene, path: Path) -> None:
    path.symlink_to(
        scene.rng.choice(
            ("nowhere.png", path.name, "2.png", "/dev/zero", "/dev/null", "/proc/self/mem", "..")
        )
    )


def _fifo(scene: Scene, path: Path) -> None:
    os.mkfifo(path)


def _socket(scene: Scene, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket must be short
        listener.bind(path.name[:99])
        os.chdir(here)


def _folder(scene: Scene, path: Path) -> None:
    path.mkdir()
    (path / "1.png").write_bytes(b"deeper")


def _unreadable(scene: Scene, path: Path) -> None:
    path.write_bytes(next(iter(scene.material.photos.values())))
    path.chmod(scene.rng.choice((0o000, 0o200)))
    scene.without_privileges = True


def _empty(scene: Scene, path: Path) -> None:
    path.write_bytes(b"")


def _sparse(scene: Scene, path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(scene.rng.choice((2**25, 2**25 + 1, 2**33, 2**40)))


STRANGE: tuple[Callable[[Scene, Path], None], ...] = (
    *(_link_out, _link_astray, _fifo, _socket, _folder, _unreadable, _empty, _sparse),
)
STRANGE_NAMES = (
    *(
        b"\xff\xfe.png",
        b"a\x1b[2J.png",
        b"a\nerror: b.png",
        b"notes.txt",
        b".hidden.png",
        b"9.PNG",
        b"\xc3\xa9.png",
    ),
    *(
        b"x" * 251 + b".png",
        b"1.png ",
        b"labels.csv",
        b"see_bboxes.m",
        b"Thumbs.db",
        b"digitStruct.MAT",
        b"-rf.png",
    ),
)


def folder(scene: Scene) -> None:
    """An extracted split in which something else stands in a photo's or digitStruct.mat's place, or beside them."""
    rng = scene.rng
    path = scene.write_folder(scene.files())
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = (
            os.fsencode(rng.choice((*scene.material.photos, MAT)))
            if rng.random() < 0.6
            else rng.choice(STRANGE_NAMES)
        )
        target = path / os.fsdecode(name)
        if target.is_dir() and not target.is_symlink():
            continue
        target.unlink(missing_ok=True)
        rng.choice(STRANGE)(scene, target)
    if rng.random() < 0.1:
        (scene.raw / "test.tar.gz").symlink_to(
            rng.choice((scene.outside / "1.png", Path("test.tar.gz"), Path("/dev/zero")))
        )
    if rng.random() < 0.05:
        path.rename(scene.outside / "elsewhere")
        path.symlink_to(scene.outside / "elsewhere")


def sound(scene: Scene) -> None:
    """Nothing is wrong: to see that the rest is not refused for another reason."""
    scene.write_folder(scene.files())
    scene.records, scene.is_sound = len(scene.material.records), True


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    "labels.csv": (labels_csv, 10),
    "folder": (folder, 8),
    "nothing wrong": (sound, 2),
}
