"""python -m svhn_jax.demo: the whole pipeline on synthetic photos, in a few minutes on 2 cores.

Renders and crops house numbers, trains configs/demo.py and scores it on numbers it has not seen. A
second run skips finished steps.
"""

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from svhn_jax import cli
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal

PREPARE = ("svhn_jax.synthesize --arrays data/synthetic --train 40000 --test 1000",)
TRAIN = (
    "svhn_jax.train --config configs/demo.py --seed {seed}",
    "svhn_jax.evaluate --run checkpoints/demo --split test --step best",
)
SAVING_S = 30.0


@dataclass(frozen=True)
class Options:
    """Renders, crops, trains, scores."""

    seed: int = 0
    """seed of the training: initial params, order, augmentation"""


def main(options: Options, terminal: Terminal) -> int:
    if not Path("configs/demo.py").is_file():
        raise InputError("configs/demo.py: not found; run this in the repository's top folder")
    started, printed = time.perf_counter(), ""
    silence = ["--json"] if terminal.is_json else ["--quiet"] if terminal.is_silent else []
    is_prepared = Path("data/synthetic/manifest.json").exists()
    train = tuple(command.format(seed=options.seed) for command in TRAIN)
    for command in train if is_prepared else PREPARE + train:
        terminal.print(f"\n$ python -m {command}")
        status, printed = _run(["-m", *command.split(), *silence], is_read=terminal.is_json)
        if status:
            return status
    seconds = time.perf_counter() - started
    terminal.print(
        f"\nAll of it took {seconds:.0f} s. These are synthetic photos; README.md has real ones. "
        "A page of the results:\n  python -m svhn_jax.report --run checkpoints/demo --split test "
        "--to demo.html"
    )
    if terminal.is_json:
        terminal.result({"seconds": round(seconds, 1), "evaluation": json.loads(printed)})
    return 0


def _run(arguments: list[str], *, is_read: bool) -> tuple[int, str]:
    """Exit status of a command, and what it prints if that is read."""
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE if is_read else None, text=True
    ) as process:
        try:
            printed = process.communicate()[0] or ""
        except KeyboardInterrupt:  # Ctrl-C: the terminal sends it to the command, too
            with suppress(subprocess.TimeoutExpired):
                process.wait(SAVING_S)
            process.terminate()
            raise
    return abs(process.returncode), printed


if __name__ == "__main__":
    cli.run(Options, main)
