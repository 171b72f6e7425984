"""Fuzzed digitStruct.mat of a sound structure: values, names and numbers of fields that no house number has."""

import math
from collections.abc import Callable
from pathlib import Path

from fuzz_inputs_mat import place
from fuzz_material import archives, columns
from fuzz_scene import Scene

MAX_MAT_BYTES = 2**25
NAMES = (
    *(
        "",
        "x" * 255,
        "x" * 256,
        "1.png",
        "2.png",
        "a\nerror: b.png",
        "a\x1b[31mb.png",
        "\x00.png",
        "1.png\x00",
        "ü.png",
    ),
    *(
        "\ud800.png",
        "../outside/1.png",
        "/etc/passwd",
        "١.png",
        "train/1.png",
        " 1.png",
        "1.PNG",
        "\u202e1.png",
        ".",
    ),
)
LABELS = (0.0, -1.0, 10.0, 11.0, 2.5, math.nan, math.inf, 1e300, 5e-324, 1.0)
PIXELS = (
    0.0,
    -0.0,
    -5.0,
    1e6,
    -1e6,
    1e6 + 1,
    1e300,
    math.nan,
    -math.inf,
    5e-324,
    0.5,
    1e-9,
    999999.999,
    3e4,
)


def wrong_values(scene: Scene) -> None:
    """Labels, boxes, names and numbers of fields that no house number has, and photos that are not there."""
    rng = scene.rng
    records = [(record.name, columns(record)) for record in scene.material.records]
    for _ in range(rng.choice((1, 1, 2, 4))):
        index = rng.randrange(len(records))
        name, fields = records[index]
        kind = rng.randrange(6)
        if kind == 0:
            fields["label"][rng.randrange(len(fields["label"]))] = rng.choice(LABELS)
        elif kind <= 2:
            column = fields[rng.choice(("left", "top", "width", "height"))]
            column[rng.randrange(len(column))] = rng.choice(PIXELS)
        elif kind == 3:
            name = rng.choice(NAMES)
        elif kind == 4:
            fields = {
                field: values * rng.choice((1, 7, 17, 300)) for field, values in fields.items()
            }
        else:
            records.append(rng.choice(records))
        records[index] = (name, {field: values.copy() for field, values in fields.items()})
    scene.records = len(records)
    path = scene.tmp / "made.mat"
    archives.write_mat(path, records, rng.choice(("earliest", "earliest", "latest")))
    place_and_remove(scene, path)


def place_and_remove(scene: Scene, path: Path) -> None:
    """Puts the digitStruct.mat at `path` into an archive or a folder of sound photos."""
    with open(path, "rb") as file:
        place(
            scene, file.read(MAX_MAT_BYTES)
        )  # a chunk that is never filled takes its room all the same
    path.unlink()


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {"wrong values": (wrong_values, 8)}
