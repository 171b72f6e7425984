"""Fuzzed results: a prepared set, and an unfinished build, that the command finds."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_scene import Scene, mutated, respliced

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        2**63,
        1e400,
        float("nan"),
        "",
        "x",
        "../../outside",
        [],
        {},
        [1],
        {"a": 1},
        "\ud800",
        10**400,
    ),
)
NPY_HEADERS = (
    "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 64, 64, 3)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f8', 'fortran_order': True, 'shape': (9999999999999,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 'a')}",
    "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': ()}",
    "{'descr': '|V0', 'fortran_order': False, 'shape': (5,)}",
    *(
        "{'descr': '|u1'}",
        "[]",
        "{",
        "()" * 5000,
        "__import__('os').system('true')",
        "{'descr': 'M8[ns]', 'shape': (1,)}",
    ),
)


def _start(scene: Scene) -> None:
    """The sources from which the prepared set was made, with their times, and the options it was made with."""
    scene.raw.rmdir()
    shutil.copytree(scene.material.prepared / "raw", scene.raw)
    scene.options = ["--size", "16"]


def _changed_json(scene: Scene, text: str) -> str:
    """One value of a JSON text, wherever in it, is another, is gone, or stands twice."""
    rng, root = scene.rng, json.loads(text)
    place: Any = root
    key: Any = None
    while isinstance(place, dict | list) and place:
        parent, key = (
            place,
            rng.choice(list(place) if isinstance(place, dict) else range(len(place))),
        )
        place = parent[key]
        if rng.random() < 0.35:
            break
    if key is None or rng.random() < 0.1:
        return json.dumps(rng.choice(VALUES))
    if rng.random() < 0.3:
        del parent[key]
    else:
        parent[key] = rng.choice(VALUES)
    return json.dumps(root)


def _change_file(scene: Scene, path: Path) -> None:
    """Changes a file as befits it."""
    rng, content = scene.rng, path.read_bytes()
    kind = rng.random()
    if kind < 0.5 and path.suffix in (".json", ".jsonl"):
        lines = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
        at = rng.randrange(len(lines))
        lines[at] = _changed_json(scene, lines[at])
        path.write_text("\n".join(lines) + "\n", errors="surrogatepass")
    elif kind < 0.5 and path.suffix == ".npy":
        text = rng.choice(NPY_HEADERS).encode()
        header = (
            b"\x93NUMPY"
            + bytes([rng.choice((1, 1, 1, 2, 3, 9)), 0])
            + len(text).to_bytes(2, "little")
            + text
        )
        path.write_bytes(header + rng.choice((content[128:], b"", content)))
    elif kind < 0.8:
        path.write_bytes(
            (mutated if content and rng.random() < 0.5 else respliced)(content or b"x", rng)
        )
    elif kind < 0.9:
        path.unlink()
        rng.choice((_vanish, _vanish, Path.mkdir, os.mkfifo, _link))(path)
    else:  # the file itself is sound, but lies elsewhere
        path.replace(scene.outside / path.name)
        path.symlink_to(scene.outside / path.name)


def _vanish(path: Path) -> None:
    """It is gone already."""


def _link(path: Path) -> None:
    path.symlink_to("/dev/null" if path.suffix != ".json" else "/dev/zero")


def _change_some(scene: Scene, folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files += [path for path in files if path.suffix in (".json", ".jsonl")] * 3
    for path in {scene.rng.choice(files): None for _ in range(scene.rng.choice((1, 1, 2)))}:
        _change_file(scene, path)


def prepared_set(scene: Scene) -> None:
    """The target holds a set whose manifest or arrays are damaged; sometimes of other settings."""
    _start(scene)
    shutil.copytree(scene.material.prepared / "set", scene.to)
    _change_some(scene, scene.to)
    if scene.rng.random() < 0.2:
        (
            scene.to / scene.rng.choice(("notes.txt", "train/more.npy", "extra/images.npy"))
        ).parent.mkdir(exist_ok=True)
    if scene.rng.random() < 0.4:
        scene.options += ["--margin", "0.5"]


def unfinished_build(scene: Scene) -> None:
    """A killed run has left a build half-way, and its files are damaged."""
    _start(scene)
    partial = scene.to.parent / f".{scene.to.name}.partial"
    shutil.copytree(scene.material.prepared / "unfinished", partial)
    if scene.rng.random() < 0.3:
        shutil.copytree(scene.material.prepared / "set", scene.to)
        scene.options += ["--margin", "0.5"] if scene.rng.random() < 0.5 else []
    kind = scene.rng.random()
    if kind < 0.9:
        _change_some(scene, partial)
    else:
        shutil.rmtree(partial)
        target = scene.outside / "elsewhere"
        target.mkdir()
        (target / "thesis.txt").write_text("mine\n")
        places = [partial, *(partial.with_suffix(f".{word}") for word in ("old", "lock"))]
        targets = (target, target / "thesis.txt", scene.outside / "nowhere")
        scene.rng.choice(places).symlink_to(scene.rng.choice(targets))


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    "prepared set": (prepared_set, 9),
    "unfinished build": (unfinished_build, 9),
}
