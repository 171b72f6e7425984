"""python tests/faults/damage_run.py --damages N: a finished run's folder, damaged in N random ways, and gone on with.

Each damage is done to a copy: one to three files cut short, bits flipped, deleted, emptied or exchanged.
Then the run is asked to go on to its end, from what is left. It must either end in the bits of an
undamaged run, and with its best step unless it names damaged validation metrics, or be refused with one line;
a traceback or another end counts as a failure. The last line is the figures as JSON; status 1 on a failure.
"""

import json
import random
import shutil
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import run_material
import tyro
from rich.console import Console
from rich.table import Table

from svhn_jax.errors import InputError, run_command

WAYS = ("cut short", "bits flipped", "deleted", "emptied", "exchanged")
STOP_AT_STEP = 60  # where the run is damaged, of 80


@dataclass(frozen=True)
class Options:
    """Damages the folder of a training run at random, and sees whether it goes on rightly or is refused."""

    damages: int = 200
    """how many"""
    seed: int = 0
    """of the damages"""
    jobs: int = 2
    """runs at once"""

    def __post_init__(self) -> None:
        if self.damages < 1 or self.jobs < 1:
            raise InputError("--damages and --jobs must be at least 1")


def main() -> int:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        run_material.make(folder, epochs=4, save_every_steps=10)
        best = _prepare(folder)
        expected = run_material.final_state(folder / "checkpoints" / "whole"), best
        with ThreadPoolExecutor(options.jobs) as pool:
            seeds = [options.seed * 100_000 + number for number in range(options.damages)]
            verdicts = list(pool.map(lambda seed: _try(folder, seed, expected), seeds))
    table = Table("damage", "went on", "refused", "FAILED")
    for way in WAYS:
        counts = Counter(kind for ways, kind, _ in verdicts if way in ways)
        table.add_row(way, *(str(counts[kind]) for kind in ("went on", "refused", "FAILED")))
    console.print(table)
    for _, kind, words in verdicts:
        if kind != "went on":
            console.print(f"{kind}: {words}", soft_wrap=True)
    counts = Counter(kind for _, kind, _ in verdicts)
    print(json.dumps({"damages": len(verdicts), **{kind: counts[kind] for kind in ("went on", "refused", "FAILED")}}))
    return int(counts["FAILED"] > 0)


def _prepare(folder: Path) -> str:
    """The runs `whole`, finished, and `stopped`, the same without its steps after STOP_AT_STEP. Returns the best step."""
    done = run_material.finish(folder, "whole")
    if done.returncode:
        raise InputError(f"the run itself failed: {done.stderr[-500:]}")
    shutil.copytree(folder / "checkpoints" / "whole", folder / "checkpoints" / "stopped")
    steps = folder / "checkpoints" / "stopped" / "steps"
    for path in steps.iterdir():
        if path.name.isdigit() and int(path.name) > STOP_AT_STEP:
            shutil.rmtree(path)
    return _best_step(done.stdout)


def _best_step(printed: str) -> str:
    return printed.partition("best on validation: step ")[2].partition(".")[0]


def _try(folder: Path, seed: int, expected: tuple[dict[str, list[int]], str]) -> tuple[tuple[str, ...], str, str]:
    """How the run was damaged, what became of it, and what it said."""
    rng, runs = random.Random(seed), f"damaged{seed}"
    run = folder / runs / "whole"
    shutil.copytree(folder / "checkpoints" / "stopped", run)
    told = tuple(_damage(rng, run) for _ in range(rng.randint(1, 3)))
    try:
        done = run_material.finish(folder, "whole", "--runs-dir", runs)
    except subprocess.TimeoutExpired:
        return told, "FAILED", "it hung"
    words = f"{told}: status {done.returncode}, best step {_best_step(done.stdout) or 'unknown'}: {done.stderr.strip()[-300:]}"
    if "Traceback" in done.stderr:
        kind = "FAILED"
    elif done.returncode == 0:
        try:
            is_same_best = _best_step(done.stdout) == expected[1] or "validation metrics of step" in done.stdout
            kind = "went on" if run_material.final_state(run) == expected[0] and is_same_best else "FAILED"
        except ValueError as error:
            kind, words = "FAILED", str(error)
    else:
        is_one_line = done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        kind = "refused" if is_one_line else "FAILED"
    shutil.rmtree(run)
    return tuple(text.split(":")[0] for text in told), kind, words


def _damage(rng: random.Random, run: Path) -> str:
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    path, way = rng.choice(files), rng.choice(WAYS)
    content = path.read_bytes()
    if way == "cut short":
        path.write_bytes(content[: rng.randrange(len(content) + 1)])
    elif way == "bits flipped" and content:
        changed = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
    elif way == "deleted":
        path.unlink()
    elif way == "emptied":
        path.write_bytes(b"")
    elif way == "exchanged":
        other = rng.choice([one for one in files if one != path])
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    return f"{way}: {path.relative_to(run)}"


if __name__ == "__main__":
    run_command(main)
