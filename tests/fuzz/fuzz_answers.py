"""Runs svhn_jax.predict on a folder of hostile pictures, and judges what it answers."""

import csv
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_verdict
from fuzz_run import Run, heed_permissions
from fuzz_scene import Scene
from fuzz_verdict import CONTROL, MAX_MEGABYTES, Snapshot
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 120  # of CPU time, for all pictures of a run
PATIENCE_S = 1200.0  # of a busy machine
LINE = re.compile(r"error: raw/(\w[^:]*).*: .+")
NUMBER = re.compile(r"\d*\+?")
MAX_LINE = 700  # two names and a reason


@dataclass
class Answers:
    """What the command answered.

    readings: by the photo's name, the values of its row or JSON line. refused: how many lines of error name it.
    """

    readings: dict[str, dict[str, Any]]
    refused: dict[str, int]
    problems: list[str]


def run(scene: Scene, arguments: list[str], log: Path) -> Run:
    """Runs the command in the scene's folder; `log` is for what it prints. The seconds are of CPU time."""
    log.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "svhn_jax.predict", *arguments]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(scene.tmp)}
    env.pop("COLUMNS", None)
    with open(log / "stdout", "wb") as stdout, open(log / "stderr", "wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=scene.folder,
            env=env,
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            preexec_fn=_limit,
        )
    handle = os.pidfd_open(process.pid)
    is_late = not select.select([handle], [], [], PATIENCE_S)[0]
    os.close(handle)
    if is_late:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    is_late |= process.returncode == -signal.SIGXCPU
    said = (
        (log / name).read_bytes().decode("utf-8", "backslashreplace")
        for name in ("stdout", "stderr")
    )
    seconds = usage.ru_utime + usage.ru_stime
    return Run(process.returncode, *said, seconds, usage.ru_maxrss / 1024, is_late)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        heed_permissions()


def answers(scene: Scene, run: Run, *, is_json: bool) -> Answers:
    """The answers in the CSV file, in the lines of JSON if there are any, and in the lines of error."""
    found = Answers({}, {}, [])
    table = scene.to.parent / "readings.csv"
    if not table.is_file():
        found.problems.append("no CSV file")
        return found
    with open(table, encoding="utf-8", errors="surrogateescape", newline="") as stream:
        for row in csv.DictReader(stream):
            _add(found, row.pop("file"), row)
    if is_json:
        _add_json(found, run)
    for line in run.stderr.splitlines():
        if len(line) > MAX_LINE or not (match := LINE.fullmatch(line)):
            found.problems.append(f"a strange line of error: {line[:MAX_LINE]!r}")
        else:
            index = match[1][:4]
            found.refused[index] = found.refused.get(index, 0) + 1
    return found


def _add(found: Answers, file: str, values: dict[str, Any]) -> None:
    name = file.removeprefix("raw/").partition("/")[0]
    if name in found.readings:
        found.problems.append(f"two readings of {name!r}")
    if not (NUMBER.fullmatch(values["reading"]) and 0 <= float(values["confidence"]) <= 1):
        found.problems.append(f"{name!r}: a strange reading {values}")
    found.readings[name] = values


def _add_json(found: Answers, run: Run) -> None:
    names = []
    for line in run.stdout.splitlines():
        values = json.loads(line)
        name = values["file"].removeprefix("raw/").partition("/")[0]
        names.append(name)
        row = found.readings.get(name, {})
        if values["reading"] != row.get("reading") or f"{values['confidence']:.6f}" != row.get(
            "confidence"
        ):
            found.problems.append(f"{name!r}: CSV has {row}, JSON {values}")
        row["json"] = values
    if names != list(found.readings):
        found.problems.append("CSV and JSON have not the same photos")


def problems(
    scene: Scene, run: Run, found: Answers, before: Snapshot, names: list[str]
) -> Iterator[str]:
    """What else is wrong, in words."""
    if run.status not in (0, 1):
        yield f"ended with status {run.status}: {run.stderr[-300:]!r}"
    if run.status != int(bool(run.stderr)):
        yield f"ended with status {run.status}, though it refused {len(found.refused)} pictures"
    if "Traceback (most recent" in run.stderr + run.stdout:
        yield f"a traceback: {run.stderr.strip().splitlines()[-1]}"
    if CONTROL.search(run.stderr + run.stdout):
        yield "control characters in what is printed"
    if run.is_late:
        yield f"took more than {LIMIT_S} s"
    if run.megabytes > MAX_MEGABYTES:
        yield f"took {run.megabytes:.0f} MB"
    indices = {name[:4]: name for name in names}
    found.refused = {indices.get(index, index): count for index, count in found.refused.items()}
    for name in names:
        if (count := (name in found.readings) + found.refused.get(name, 0)) != 1:
            yield f"{count} answers to {name!r}"
    if strangers := (found.readings.keys() | found.refused.keys()) - set(names):
        yield f"answers to what nobody asked: {strangers}"
    after = fuzz_verdict.snapshot(scene)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and not re.fullmatch(
            r"out/(readings\.csv|drawn|drawn/[^/]+\.png)", name
        ):
            yield f"{'changed' if name in before else 'created'} {name!r}"
    drawn = scene.to.parent / "drawn"
    if drawn.is_dir():
        yield from _problems_of_pictures(drawn, len(found.readings))


def _problems_of_pictures(folder: Path, count: int) -> Iterator[str]:
    paths = list(folder.iterdir())
    if len(paths) != count:
        yield f"{len(paths)} pictures of {count} photos"
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            if not (480 <= picture.width <= 1600 and picture.height <= 1800):
                yield f"{path.name!r}: {picture.size}"
