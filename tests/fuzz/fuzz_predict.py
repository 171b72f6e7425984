"""python tests/fuzz/fuzz_predict.py --pictures N --seed S: svhn_jax.predict on damaged and hostile pictures.

Makes N pictures: PNG, JPEG, HEIC and a dozen other formats with bytes, chunks or segments changed, cut short, animated, of
huge or strange sizes, files that are no pictures, links, folders, pipes, unreadable files; under names with line breaks,
escape sequences and bytes that are no UTF-8. The command reads some of them at a time: as a folder, by name or by a pattern;
with a table, JSON, CSV, pictures, boxes. It must answer each with one reading or one line, whatever the others are,
read a sound photo among them as ever, touch nothing, and take at most 2 GB. Prints a table by kind, and as the last line
the figures as JSON; ends with status 1 if the command failed.
"""

import json
import os
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_answers
import fuzz_material
import fuzz_pictures
import fuzz_verdict
import tyro
from fuzz_answers import Answers
from fuzz_scene import Mat, Material, Scene
from rich.console import Console
from rich.table import Table

from svhn_jax.errors import InputError, run_command

SOUND, BOXED = "sound.png", "boxed.png"  # photos that nothing is wrong with, in every folder
WAYS = {"folder": ["raw"], "pattern": ["raw/*"], "names": []}
OPTIONS = (
    *(
        [],
        [],
        ["--whole"],
        ["--min-confidence", "0.9"],
        ["--draw", "out/drawn"],
        ["--boxes", "outside/boxes.csv"],
    ),
    ["--draw", "out/drawn", "--min-confidence", "0.9", "--boxes", "outside/boxes.csv"],
)


@dataclass(frozen=True)
class Options:
    """Runs svhn_jax.predict on damaged and hostile pictures."""

    pictures: int = 2000
    """how many"""
    seed: int = 0
    """of all that is drawn: the same seed, the same pictures"""
    real: Path | None = None
    """folder with a real test.tar.gz to make the pictures from; by default they are made from drawn ones"""
    at_once: int = 40
    """pictures that one command reads"""
    keep: Path | None = None
    """folder for the pictures that the command failed on, and what it said"""

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.at_once < 1:
            raise InputError("--pictures and --at-once must be at least 1")


@dataclass
class Tally:
    """What became of all pictures.

    readings: of the sound photo, by the options of the command. passed_over: folders among the files of a folder or of a pattern.
    """

    read: Counter[str]
    refused: Counter[str]
    problems: list[str]
    readings: dict[str, Any]
    passed_over: int = 0
    slowest_s: float = 0.0
    most_mb: float = 0.0


def main() -> int:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, prog="python tests/fuzz/fuzz_predict.py", description=__doc__)
    kinds = fuzz_pictures.kinds(options.pictures, random.Random(options.seed))
    tally = Tally(Counter(), Counter(), [], {})
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        photos, records, _ = fuzz_material.photos_and_records(Path(work), options.real)
        material = Material(photos, records, {"ours": Mat(b"", (), (), 0)}, Path(work))
        for start in range(0, len(kinds), options.at_once):
            _try(
                options, material, Path(work), start, kinds[start : start + options.at_once], tally
            )
    for problem in tally.problems:
        console.print(problem, soft_wrap=True)
    _print_table(console, tally)
    figures = {
        "pictures": len(kinds),
        "read": tally.read.total(),
        "refused": tally.refused.total(),
        "passed_over": tally.passed_over,
        "failures": len(tally.problems),
        "slowest_cpu_s": round(tally.slowest_s, 1),
        "most_mb": round(tally.most_mb),
        "seed": options.seed,
        "material": "real" if options.real else "drawn",
    }
    print(json.dumps(figures))
    return 1 if tally.problems else 0


def _try(
    options: Options, material: Material, work: Path, start: int, kinds: list[str], tally: Tally
) -> None:
    """Makes some pictures, runs the command on them, and judges."""
    scene = Scene(work / f"{start}", random.Random(f"{options.seed} {start}"), material)
    scene.set_up()
    first, second = list(material.photos.values())[:2]
    (scene.raw / SOUND).write_bytes(first)
    (scene.raw / BOXED).write_bytes(second)
    (scene.outside / "boxes.csv").write_text(f"file,left,top,width,height\n{BOXED},5,3,20,12.5\n")
    names = {fuzz_pictures.put(scene, kind, start + i).name: kind for i, kind in enumerate(kinds)}
    way = scene.rng.choice(list(WAYS))
    arguments = WAYS[way] or [f"raw/{name}" for name in (*names, SOUND, BOXED)]
    chosen = [*scene.rng.choice(OPTIONS), *scene.rng.choice((["--json"], ["--json"], []))]
    before = fuzz_verdict.snapshot(scene)
    run = fuzz_answers.run(scene, [*arguments, *chosen, "--csv", "out/readings.csv"], work / "log")
    answers = fuzz_answers.answers(scene, run, is_json="--json" in chosen)
    # A folder and a pattern give files alone.
    asked = [name for name in names if way == "names" or not (scene.raw / name).is_dir()]
    problems = [
        *answers.problems,
        *fuzz_answers.problems(scene, run, answers, before, [*asked, SOUND, BOXED]),
    ]
    tally.passed_over += len(names) - len(asked)
    problems += _problems_of_the_sound(answers, "--whole" in chosen, tally)
    for name, kind in names.items():
        tally.read[kind] += name in answers.readings
        tally.refused[kind] += name in answers.refused
    tally.problems += [
        f"pictures {start} to {start + len(kinds) - 1} ({way} {chosen}): {one}" for one in problems
    ]
    tally.slowest_s, tally.most_mb = (
        max(tally.slowest_s, run.seconds),
        max(tally.most_mb, run.megabytes),
    )
    if problems and options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        about = (
            json.dumps({"arguments": [*arguments, *chosen]})
            + f"\n--- stdout\n{run.stdout}\n--- stderr\n{run.stderr}"
        )
        (options.keep / f"{start}.txt").write_text(
            "\n".join([*problems, about]), errors="backslashreplace"
        )
        os.rename(scene.folder, options.keep / f"{start}")
    else:
        shutil.rmtree(scene.folder)


def _problems_of_the_sound(answers: Answers, is_whole: bool, tally: Tally) -> list[str]:
    """Whether the sound photo is read as in the first run; compares all digits that are printed."""
    found = answers.readings.get(SOUND)
    if found is None:
        return ["the sound photo was not read"]
    before = tally.readings.setdefault(str(is_whole), {})
    values = found | {f"json {key}": value for key, value in found.get("json", {}).items()}
    compared = {
        key: value for key, value in values.items() if key not in ("json", "check", "json check")
    }
    pairs = [(key, before.setdefault(key, value), value) for key, value in compared.items()]
    return [
        f"the sound photo: {key} was {old!r}, and is now {new!r}"
        for key, old, new in pairs
        if old != new
    ]


def _print_table(console: Console, tally: Tally) -> None:
    table = Table(title="svhn_jax.predict on damaged and hostile pictures")
    for column in ("kind", "read", "refused in one line"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind in fuzz_pictures.WEIGHTS:
        table.add_row(kind, f"{tally.read[kind]:,}", f"{tally.refused[kind]:,}")
    console.print(table)


if __name__ == "__main__":
    run_command(main)
