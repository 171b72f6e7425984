"""Damages the files of a stopped run, and asks the run to go on."""

import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from os import environ
from pathlib import Path

import material
from fuzz_scene import mutated, respliced
from kills import END_S, Result

from svhn_jax.errors import InputError

WAYS = ("bytes changed", "spliced", "deleted", "emptied", "exchanged")
STOP_AT_STEP = 60  # of 80
JOBS = 2


def damage_run(work: Path, count: int, rng: random.Random) -> list[Result]:
    """Damages one to three files of a copy of the run, `count` times."""
    environment = environ | material.make_run(work, epochs=4)
    done = _finish(work, environment, "checkpoints")
    if done.returncode:
        raise InputError(f"the undisturbed run failed: {done.stderr[-500:]}")
    expected, best = material.final_state(work / "checkpoints" / "run"), _best_step(done.stdout)
    for path in (work / "checkpoints" / "run" / "steps").iterdir():
        if path.name.isdigit() and int(path.name) > STOP_AT_STEP:
            shutil.rmtree(path)

    def attack(seed: int) -> list[Result]:
        """Each kind of damage done, with the outcome."""
        run, ways = work / f"damaged{seed}" / "run", list[str]()
        shutil.copytree(work / "checkpoints" / "run", run)
        rng = random.Random(seed)
        told = [_damage(rng, run, ways) for _ in range(rng.randint(1, 3))]
        try:
            outcome, words = _judge(
                _finish(work, environment, run.parent.name), run, expected, best
            )
        except (subprocess.TimeoutExpired, ValueError) as error:
            outcome, words = "failed", str(error)
        shutil.rmtree(run)
        problem = "" if outcome == "continues" else f"{outcome}, {told}: {words}"
        return [
            Result("all damages", outcome, problem),
            *(Result(way, outcome) for way in sorted({*ways})),
        ]

    with ThreadPoolExecutor(JOBS) as pool:
        return [
            result for one in pool.map(attack, rng.sample(range(10**9), count)) for result in one
        ]


def _finish(work: Path, environment: dict[str, str], runs: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "svhn_jax.train",
        "--config",
        "tiny.py",
        "--name",
        "run",
        "--runs-dir",
        runs,
    ]
    return subprocess.run(
        command,
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
    )


def _best_step(printed: str) -> str:
    return printed.partition("best on validation: step ")[2].partition(".")[0]


def _judge(
    done: subprocess.CompletedProcess[str], run: Path, expected: dict[str, list[int]], best: str
) -> tuple[str, str]:
    """The outcome, and the status with the end of stderr."""
    words = f"status {done.returncode}, best step {_best_step(done.stdout) or 'unknown'}: {done.stderr.strip()[-300:]}"
    if "Traceback" in done.stderr:
        return "failed", words
    if done.returncode:
        is_one_line = done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        return "refused with one line" if is_one_line else "failed", words
    is_same_best = (
        _best_step(done.stdout) == best or "the validation metrics of step" in done.stdout
    )
    return "continues" if material.final_state(
        run
    ) == expected and is_same_best else "failed", words


def _damage(rng: random.Random, run: Path, ways: list[str]) -> str:
    """Damages a file of the run in one way, which is added to `ways`."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    path, way = rng.choice(files), rng.choice(WAYS)
    content = path.read_bytes()
    ways.append(way)
    if way == "deleted":
        path.unlink()
    elif way == "exchanged":
        other = rng.choice([one for one in files if one != path])
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    else:
        changes = {"bytes changed": mutated, "spliced": respliced}
        path.write_bytes(changes[way](content, rng) if way in changes else b"")
    return f"{way}: {path.relative_to(run)}"
