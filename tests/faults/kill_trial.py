"""Trials for tests/faults/kill_data.py: a command killed at random moments, run to its end, and what it leaves compared."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from svhn_jax.errors import InputError

POLL_S = 0.002
START_S = 1.0  # to import everything, about
END_S = 120.0
WAYS = ("kill -9 of all", "kill -9 of one", "Ctrl-C")


@dataclass(frozen=True)
class Stage:
    """What is killed: a command, from when on, and for how many seconds from then on an uninterrupted run goes on."""

    name: str
    command: list[str]
    begins: Callable[[], bool]
    seconds: float
    replaces: bool
    """whether an older data set stands where the command is to make one"""


@dataclass
class Work:
    """The folders: archives as served, what is downloaded, what is made of them, and a set made with another margin."""

    folder: Path
    served: Path = field(init=False)
    downloaded: Path = field(init=False)
    out: Path = field(init=False)
    tmp: Path = field(init=False)
    older: Path = field(init=False)

    def __post_init__(self) -> None:
        self.served, self.downloaded, self.out, self.tmp, self.older = (
            self.folder / name for name in ("served", "downloaded", "out", "tmp", "older")
        )

    def start_anew(self, *, replaces: bool = False) -> None:
        for path in (self.downloaded, self.out, self.tmp):
            shutil.rmtree(path, ignore_errors=True)
        self.out.mkdir()
        self.tmp.mkdir()
        if replaces:
            shutil.copytree(self.older, self.out / "set")

    def results(self) -> dict[str, bytes]:
        """All that the commands have left, by name."""
        places = (self.downloaded, self.out, self.served, self.tmp)
        files = (path for place in places for path in place.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@dataclass
class Tally:
    """How the kills went; by_stage and by_way count them, `identical` those after which all was as it should be."""

    kills: int = 0
    identical: int = 0
    trials: int = 0
    leftovers: int = 0
    orphans: int = 0
    """killed commands whose own processes were still there when the next had ended"""
    untidy: int = 0
    """interrupts that were not answered by one line"""
    by_stage: Counter[str] = field(default_factory=Counter)
    by_way: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def start(work: Work, arguments: list[str]) -> "subprocess.Popen[str]":
    """The command in a process group of its own."""
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment | {"TMPDIR": str(work.tmp)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def require_success(process: "subprocess.Popen[str]") -> None:
    _, stderr = process.communicate(timeout=END_S)
    if process.returncode or stderr:
        raise InputError(f"an uninterrupted run ended with status {process.returncode}: {stderr.strip()[-300:]}")


def run(
    stage: Stage, work: Work, expected: dict[str, dict[str, bytes]], rng: random.Random, tally: Tally, at_most: int
) -> None:
    """Kills the stage's command once or more, lets it end, and compares."""
    work.start_anew(replaces=stage.replaces)
    told, groups = list[str](), list[int]()
    for _ in range(min(at_most, rng.choice((1, 1, 2, 3)))):
        way = WAYS[(tally.kills + len(told)) % len(WAYS)]
        if (status := _kill(stage, work, way, rng, tally, groups)) is None:
            break
        told.append(f"{way} (ended with {status})")
        tally.by_stage[stage.name] += 1
        tally.by_way[way] += 1
    process = start(work, stage.command)
    _, stderr = process.communicate(timeout=END_S)
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
            tally.orphans += 1
            tally.problems.append(f"{stage.name}, {', then '.join(told)}: its processes were still there")
    found, wanted = work.results(), expected[stage.command[0]]
    leftovers, lacking = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    differing = sorted(name for name in found.keys() & wanted.keys() if found[name] != wanted[name])
    is_right = not (process.returncode or stderr or leftovers or lacking or differing)
    tally.trials += bool(told)
    tally.kills += len(told)
    tally.identical += len(told) if is_right else 0
    tally.leftovers += len(leftovers)
    if not is_right:
        what: dict[str, Any] = {"status": process.returncode, "stderr": stderr[-300:]}
        what |= {"leftovers": leftovers, "lacking": lacking, "differing": differing}
        tally.problems.append(f"{stage.name}, {', then '.join(told)}: {what}")


def _kill(stage: Stage, work: Work, way: str, rng: random.Random, tally: Tally, groups: list[int]) -> int | None:
    """Starts the command and kills it at a moment of the stage; its status, or None where it had ended by then."""
    process = start(work, stage.command)
    groups.append(process.pid)
    moment = rng.uniform(0, stage.seconds + (START_S if stage.begins() else 0))
    while not stage.begins() and process.poll() is None:
        time.sleep(POLL_S)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.kill(
            process.pid if way == "kill -9 of one" else -process.pid,
            signal.SIGINT if way == "Ctrl-C" else signal.SIGKILL,
        )
    else:
        _, stderr = process.communicate()
        if process.returncode or stderr:
            raise InputError(
                f"a run that was not killed ended with status {process.returncode}: {stderr[-300:]}"
            ) from None
        return None
    if way == "kill -9 of one":  # its children may hold stderr open, and live on for a while
        process.wait(END_S)
        return process.returncode
    _, stderr = process.communicate(timeout=END_S)
    if way == "Ctrl-C" and (process.returncode not in (0, 130) or "Traceback" in stderr):
        tally.untidy += 1
        tally.problems.append(f"{stage.name}, Ctrl-C: status {process.returncode}: {stderr.strip()[-1000:]}")
    return process.returncode
