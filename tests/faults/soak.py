"""python tests/faults/soak.py --kills N: a small run, killed -9 at N random moments, and gone on with each time.

The moments are drawn from the whole of what one start of the run would last, so that saves, evaluations
and the start itself are hit too; runs follow one another until N kills are spent. Each run must end, in
the same bits as one that was never killed. The last line is the figures as JSON; status 1 if one did not.
"""

import json
import random
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import run_material
import tyro
from rich.console import Console

from svhn_jax.errors import InputError, run_command

KILLS_A_RUN = 5


@dataclass(frozen=True)
class Options:
    """Kills a small training run again and again, and compares its end with that of an undisturbed one."""

    kills: int = 50
    """how many"""
    seed: int = 0
    """of the moments"""

    def __post_init__(self) -> None:
        if self.kills < 1:
            raise InputError(f"--kills is {self.kills}; it must be at least 1")


def main() -> int:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, description=__doc__)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        run_material.make(folder, epochs=5, save_every_steps=10)
        _succeed(folder, "first")  # which compiles; kills are spread over what a start lasts after it
        started = time.perf_counter()
        _succeed(folder, "undisturbed")
        whole_s = time.perf_counter() - started
        expected = run_material.final_state(folder / "checkpoints" / "undisturbed")
        console.print(f"undisturbed: {expected['step'][0]} steps in {whole_s:.1f} s")
        kills = runs = identical = 0
        while kills < options.kills:
            runs += 1
            name, wanted = f"run{runs}", min(KILLS_A_RUN, options.kills - kills)
            kills += (done := sum(_start_and_kill(folder, name, rng.uniform(0.3, whole_s)) for _ in range(wanted)))
            _succeed(folder, name)
            is_same = run_material.final_state(folder / "checkpoints" / name) == expected
            identical += is_same
            console.print(f"{name}: killed {done} times, {'the same bits' if is_same else 'ANOTHER END'}")
    figures = {"kills": kills, "finished": runs, "bit_identical": identical}  # a run that does not finish ends all
    print(json.dumps(figures))
    return int(identical < runs)


def _succeed(folder: Path, name: str) -> None:
    done = run_material.finish(folder, name)
    if done.returncode or "Traceback" in done.stderr:
        raise InputError(f"{name}: ended with status {done.returncode}: {done.stderr[-500:]}")


def _start_and_kill(folder: Path, name: str, after_s: float) -> bool:
    """Whether it was still running when it was killed."""
    process = subprocess.Popen(
        run_material.command(name),
        cwd=folder,
        env=run_material.environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if status := process.wait(after_s):
            raise InputError(f"{name}: ended by itself with status {status}")
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


if __name__ == "__main__":
    run_command(main)
