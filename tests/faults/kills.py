"""Kills a command at random moments, runs it again to its end, and compares the result with that of an undisturbed run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import material

from svhn_jax.data import arrays
from svhn_jax.errors import InputError

POLL_S = 0.002
START_S = 1.0  # about the time of the imports
END_S = 300.0  # taken for a hang: thirty times what the tiny run takes undisturbed
ORPHAN_S = 10.0  # a worker process may outlive its killed parent for so long
WAYS = ("kill -9 of all", "kill -9 of one", "Ctrl-C")


class Result(NamedTuple):
    """One attack: its kind, its outcome ("failed" or another word), and what went wrong, with details."""

    kind: str
    outcome: str
    problem: str = ""


@dataclass
class Target:
    """A command to kill. `stages` maps a name to a function that says whether that stage has begun."""

    command: list[str]
    folder: Path
    environment: dict[str, str]
    start_anew: Callable[[], None]
    result: Callable[[], dict[str, Any]]
    stages: dict[str, Callable[[], bool]] = field(default_factory=dict)
    durations: dict[str, float] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)

    def start(self) -> "subprocess.Popen[str]":
        """The command in a process group of its own."""
        command = [sys.executable, "-m", *self.command]
        options: dict[str, Any] = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | self.environment,
            start_new_session=True,
            **options,
        )

    def measure(self) -> None:
        """Runs the command undisturbed; notes its result and how long each stage lasts."""
        self.start_anew()
        process, start, seen = self.start(), time.perf_counter(), dict[str, float]()
        while process.poll() is None:
            now = time.perf_counter() - start
            seen |= {
                name: now
                for name, has_begun in self.stages.items()
                if name not in seen and has_begun()
            }
            time.sleep(POLL_S)
        _require_success(process)
        end = time.perf_counter() - start
        self.durations = {"any": end}
        moments = [*seen.values(), end]
        for place, name in enumerate(seen):  # polling may miss a short stage
            self.durations[name] = moments[place + 1] - moments[place]
        self.expected = self.result()


def _require_success(process: "subprocess.Popen[str]") -> None:
    _, stderr = process.communicate(timeout=END_S)
    if process.returncode or "error" in stderr or "Traceback" in stderr:
        raise InputError(
            f"an undisturbed run ended with status {process.returncode}: {stderr.strip()[-300:]}"
        )


def kill_run(work: Path, count: int, rng: random.Random) -> list[Result]:
    """Kills a training run `count` times."""
    environment, checkpoints = material.make_run(work, epochs=5), work / "checkpoints"
    target = Target(
        ["svhn_jax.train", "--config", "tiny.py", "--name", "run"],
        *(work, environment, lambda: shutil.rmtree(checkpoints, ignore_errors=True)),
        lambda: material.final_state(checkpoints / "run"),
    )
    target.measure()  # compiles; the second run lasts as long as those that are killed
    return _attack([target], count, rng)


def kill_data(work: Path, count: int, rng: random.Random) -> list[Result]:
    """Kills download, preprocess and synthesize `count` times in all."""
    served, out, older, tmp = (work / name for name in ("served", "out", "older", "tmp"))
    server = material.SlowServer(served)
    material.make_archives(served, work / "sums", rng.randrange(1000))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "TMPDIR": str(tmp),
        "XDG_CACHE_HOME": str(work / "cache"),
        "no_proxy": "127.0.0.1",
    }
    environment |= {"PYTHONPATH": str(material.REPOSITORY)}

    def start_anew() -> None:
        for path in (out, tmp, work / "cache"):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        if older.exists() and rng.random() < 0.5:
            shutil.copytree(older, out / "set")

    def start_empty() -> None:
        start_anew()
        shutil.rmtree(out / "set", ignore_errors=True)

    def result() -> dict[str, Any]:
        files = (
            path for place in (out, served, tmp) for path in place.rglob("*") if path.is_file()
        )
        return {str(path.relative_to(work)): path.read_bytes() for path in files}

    partial = out / ".set.partial"
    stages = {"parse": partial.exists, "crop": (partial / "plan.json").exists}
    stages |= {"finish": (partial / arrays.MANIFEST).exists}
    preprocess = f"svhn_jax.preprocess --raw {served} --to {out}/set --jobs 2 --size 32 --validation-fraction 0.1".split()
    Target([*preprocess, "--margin", "0.5"], work, environment, start_anew, result).measure()
    (out / "set").rename(older)
    download = (
        f"svhn_jax.download --to {out} --base-url {server.url} --checksums {work}/sums".split()
    )
    synthesize = ["svhn_jax.synthesize", "--train", "600", "--test", "100", "--jobs", "2"]
    targets = [
        Target(
            download,
            work,
            environment,
            start_empty,
            result,
            {"transfer": lambda: any(out.glob("*.part"))},
        ),
        Target(preprocess, work, environment, start_anew, result, stages),
        Target([*synthesize, "--to", str(out)], work, environment, start_empty, result),
        Target([*synthesize, "--arrays", str(out / "set")], work, environment, start_empty, result),
    ]
    results = _attack(targets, count, rng)
    server.shutdown()
    return results


def _attack(targets: list[Target], count: int, rng: random.Random) -> list[Result]:
    """Takes the stages of all targets in turn until `count` kills are spent."""
    for target in targets:
        target.measure()
        print(f"{target.command[0]}, undisturbed: {target.durations['any']:.1f} s", flush=True)
    stages = [(target, stage) for target in targets for stage in target.durations if stage != "any"]
    stages += [(target, "any") for target in targets]
    rng.shuffle(stages)  # a small count reaches other stages with another seed
    results = list[Result]()
    for number in range(100 * count):
        if len(results) >= count:
            break
        results += _trial(*stages[number % len(stages)], rng, len(results), count - len(results))
    return results


def _trial(target: Target, stage: str, rng: random.Random, done: int, at_most: int) -> list[Result]:
    """Kills the command one to three times, lets it end, and compares; one result for each kill."""
    target.start_anew()
    groups, told = list[int](), list[str]()
    for kill in range(min(at_most, rng.choice((1, 1, 2, 3)))):
        way = WAYS[(done + kill) % len(WAYS)]
        process = target.start()
        groups.append(process.pid)
        if not _kill(process, target, stage, way, rng):
            break
        told.append(f"{way} (status {process.returncode})")
    process = target.start()
    _, stderr = process.communicate(timeout=END_S)
    orphans = [group for group in groups if _outlives(group)]
    found = target.result()
    names = found.keys() | target.expected.keys()
    differing = sorted(name for name in names if found.get(name) != target.expected.get(name))
    problem = ""
    if process.returncode or "Traceback" in stderr or differing or orphans:
        problem = f"{target.command[0]}, {stage}, {told}: status {process.returncode}, differing {differing[:9]}, "
        problem += f"{len(orphans)} process groups left running, stderr {stderr[-300:]!r}"
    kind = f"{target.command[0].removeprefix('svhn_jax.')}, {stage}"
    return [Result(kind, "failed" if problem else "identical", problem) for _ in told]


def _kill(
    process: "subprocess.Popen[str]", target: Target, stage: str, way: str, rng: random.Random
) -> bool:
    """Kills the command at a moment of the stage; False where it ended before."""
    has_begun = target.stages.get(stage, lambda: True)
    moment = rng.uniform(
        0, target.durations[stage] + (START_S if stage != "any" and has_begun() else 0)
    )
    while not has_begun() and process.poll() is None:
        time.sleep(POLL_S)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        if way == "kill -9 of one":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGINT if way == "Ctrl-C" else signal.SIGKILL)
        process.wait(END_S)
        return True
    _require_success(process)
    return False


def _outlives(group: int) -> bool:
    """Whether a process of the group is still running after ORPHAN_S; it is killed then."""
    end = time.perf_counter() + ORPHAN_S
    while _is_running(group):
        if time.perf_counter() > end:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            return True
        time.sleep(POLL_S)
    return False


def _is_running(group: int) -> bool:
    """Whether the group holds a process that is not a zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                return True
    return False
