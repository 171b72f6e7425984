"""python tests/faults/kill_data.py --kills N --seed S: download and preprocess, killed at random moments and run again.

Each trial starts anew, is killed one to three times, and then runs to its end; what is there then must be,
byte for byte, what an uninterrupted run leaves, and nothing must lie beside it. A third of the kills are
`kill -9` of the command and its processes, a third `kill -9` of the command alone, a third an interrupt as
Ctrl-C sends it. Moments are drawn from the whole of a run and from its parts: the download, the parse of
digitStruct.mat, the cropping, the finish, in which an older data set is replaced. The last line is the figures
as JSON; ends with status 1 if not all is as it was.
"""

import itertools
import json
import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kill_material
import kill_trial
import tyro
from kill_trial import Stage, Tally, Work
from rich.console import Console

from svhn_jax.data import arrays
from svhn_jax.errors import InputError, run_command


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


def main() -> int:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, prog="python tests/faults/kill_data.py", description=__doc__)
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
            kill_trial.run(stages[trial % len(stages)], work, expected, rng, tally, options.kills - tally.kills)
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
    partial = work.out / ".set.partial"
    marks: dict[str, Callable[[], bool]] = {
        "download": lambda: any(work.downloaded.glob("*.part")),
        "parse": partial.exists,
        "crop": (partial / "plan.json").exists,
        "finish": (partial / arrays.MANIFEST).exists,
        "anywhere": lambda: True,
    }
    commands = [list(map(str, command)) for command in (download, preprocess)]
    work.start_anew()
    _watch(work, [*commands[1], "--margin", "0.5"], {})
    (work.out / "set").rename(work.older)
    stages, expected = [], {}
    for command, names in zip(commands, (["download"], ["parse", "crop", "finish", "anywhere"]), strict=True):
        work.start_anew()
        seen, end = _watch(work, command, {name: marks[name] for name in names})
        names = [name for name in names if name in seen]  # polling may miss a stage as short as the finish
        ends = {name: seen["crop"] if name == "parse" else end for name in names}
        stages += [Stage(name, command, marks[name], ends[name] - seen[name], name == "finish") for name in names]
        expected[command[0]] = work.results()
    return stages, expected


def _watch(work: Work, command: list[str], marks: dict[str, Callable[[], bool]]) -> tuple[dict[str, float], float]:
    """Runs a command to its end; after how many seconds each mark was first seen, and it ended."""
    start, seen = time.perf_counter(), dict[str, float]()
    process = kill_trial.start(work, command)
    while process.poll() is None:
        now = time.perf_counter() - start
        seen |= {name: now for name, is_there in marks.items() if name not in seen and is_there()}
        time.sleep(kill_trial.POLL_S)
    kill_trial.require_success(process)
    return seen, time.perf_counter() - start


if __name__ == "__main__":
    run_command(main)
