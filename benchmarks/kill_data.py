"""python benchmarks/kill_data.py --kills N --seed S: download and preprocess, killed at random moments and run again.

Each trial starts anew, is killed one to three times, and then runs to its end; what is there then must be,
byte for byte, what an uninterrupted run leaves, and nothing must lie beside it. A third of the kills are
`kill -9` of the command and its processes, a third `kill -9` of the command alone, a third an interrupt as
Ctrl-C sends it. Moments are drawn from the whole of a run and from its parts: the download, the parse of
digitStruct.mat, the cropping. The last line is the figures as JSON; ends with status 1 if not all is as it was.
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kill_material
import tyro
from rich.console import Console

from svhn_jax.errors import InputError, run_command

POLL_S = 0.002
START_S = 1.0  # to import everything, about
END_S = 120.0
WAYS = ("kill -9 of all", "kill -9 of one", "Ctrl-C")


@dataclass(frozen=True)
class Options:
    """Kills svhn_jax.download and svhn_jax.preprocess at random moments, and compares what they leave in the end."""

    kills: int = 30
    """how many"""
    seed: int = 0
    """of the moments and of the photos"""
    jobs: int = 2
    """of preprocess"""

    def __post_init__(self) -> None:
        if self.kills < 1:
            raise InputError(f"--kills is {self.kills}; it must be at least 1")


@dataclass(frozen=True)
class Stage:
    """What is killed: a command, from when on, and for how many seconds from then on an uninterrupted run goes on."""

    name: str
    command: list[str]
    begins: Callable[[], bool]
    seconds: float


@dataclass
class Work:
    """The folders: archives as served, what is downloaded, what is preprocessed, and its result."""

    folder: Path
    served: Path = field(init=False)
    downloaded: Path = field(init=False)
    out: Path = field(init=False)
    tmp: Path = field(init=False)

    def __post_init__(self) -> None:
        self.served, self.downloaded, self.out, self.tmp = (
            self.folder / name for name in ("served", "downloaded", "out", "tmp")
        )

    def start_anew(self) -> None:
        for path in (self.downloaded, self.out, self.tmp, self.served / ".records"):
            shutil.rmtree(path, ignore_errors=True)
        self.out.mkdir()
        self.tmp.mkdir()

    def results(self) -> dict[str, bytes]:
        """All that the commands have left, but for the cached records, by name."""
        places = (self.downloaded, self.out, self.served, self.tmp)
        files = (path for place in places for path in place.rglob("*") if path.is_file())
        found = {str(path.relative_to(self.folder)): path.read_bytes() for path in files}
        return {name: content for name, content in found.items() if not name.endswith(".npz")}


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


def main() -> int:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, prog="python benchmarks/kill_data.py", description=__doc__)
    start, rng, tally = time.perf_counter(), random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        work = Work(Path(name))
        kill_material.make_archives(work.served, work.folder / "sums", options.seed)
        server = kill_material.SlowServer(work.served)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stages, expected = _uninterrupted(work, server.url, options.jobs)
        console.print("uninterrupted: " + ", ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in stages))
        for trial in itertools.count():
            if tally.kills >= options.kills:
                break
            _try(stages[trial % len(stages)], work, expected, rng, tally, options.kills - tally.kills)
    for problem in tally.problems:
        console.print(problem, soft_wrap=True)
    figures = vars(tally) | {"seed": options.seed, "seconds": round(time.perf_counter() - start)}
    print(json.dumps(figures))
    return 0 if tally.identical == tally.kills and not tally.leftovers and not tally.orphans else 1


def _uninterrupted(work: Work, url: str, jobs: int) -> tuple[list[Stage], dict[str, dict[str, bytes]]]:
    """The stages with their times, and what each command leaves."""
    download = ["svhn_jax.download", "--to", work.downloaded, "--base-url", url, "--checksums", work.folder / "sums"]
    preprocess = ["svhn_jax.preprocess", "--raw", work.served, "--to", work.out / "set", "--jobs", jobs, "--size", "32"]
    preprocess += ["--validation-fraction", "0.1"]
    marks: dict[str, Callable[[], bool]] = {
        "download": lambda: any(work.downloaded.glob("*.part")),
        "parse": lambda: any(work.served.glob(".unpacked-*")),
        "crop": lambda: (work.out / ".set.partial" / "plan.json").exists(),
        "anywhere": lambda: True,
    }
    stages, expected = [], {}
    for command, names in ((download, ("download",)), (preprocess, ("parse", "crop", "anywhere"))):
        arguments = list(map(str, command))
        work.start_anew()
        start, seen = time.perf_counter(), dict[str, float]()
        process = _start(work, arguments)
        while process.poll() is None:
            for name in names:
                if name not in seen and marks[name]():
                    seen[name] = time.perf_counter() - start
            time.sleep(POLL_S)
        _require_success(process)
        end = time.perf_counter() - start
        ends = {name: seen["crop"] if name == "parse" else end for name in names}
        stages += [Stage(name, arguments, marks[name], ends[name] - seen[name]) for name in names]
        expected[arguments[0]] = work.results()
    return stages, expected


def _start(work: Work, arguments: list[str]) -> "subprocess.Popen[str]":
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


def _require_success(process: "subprocess.Popen[str]") -> None:
    _, stderr = process.communicate(timeout=END_S)
    if process.returncode or stderr:
        raise InputError(f"an uninterrupted run ended with status {process.returncode}: {stderr.strip()[-300:]}")


def _try(
    stage: Stage, work: Work, expected: dict[str, dict[str, bytes]], rng: random.Random, tally: Tally, at_most: int
) -> None:
    """Kills the stage's command once or more, lets it end, and compares."""
    work.start_anew()
    told, groups = [], list[int]()
    for _ in range(min(at_most, rng.choice((1, 1, 2, 3)))):
        way = WAYS[(tally.kills + len(told)) % len(WAYS)]
        if (status := _kill(stage, work, way, rng, tally, groups)) is None:
            break
        told.append(f"{way} (ended with {status})")
        tally.by_stage[stage.name] += 1
        tally.by_way[way] += 1
    process = _start(work, stage.command)
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
    process = _start(work, stage.command)
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


if __name__ == "__main__":
    run_command(main)
