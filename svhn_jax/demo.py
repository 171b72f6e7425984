"""python -m svhn_jax.demo: the whole pipeline on the embedded default data, in two to seven minutes on 2 cores.

Renders synthetic house-number archives, crops them, trains configs/demo.py and scores it on numbers
it has not seen. Run it again: what is done is not done twice.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from svhn_jax import command_line
from svhn_jax.errors import InputError, run_command

COMMANDS = (
    "svhn_jax.synthesize --to data/synthetic_raw --train 16000 --test 1000",
    "svhn_jax.preprocess --raw data/synthetic_raw --to data/synthetic",
    "svhn_jax.train --config configs/demo.py",
    "svhn_jax.evaluate --config configs/demo.py --split validation --step all",
    "svhn_jax.evaluate --config configs/demo.py --split test --step best",
)


@dataclass(frozen=True)
class Options:
    """None: the demo runs as it is."""


def main() -> int:
    command_line.parse(Options, "python -m svhn_jax.demo", __doc__ or "")
    if not Path("configs/demo.py").is_file():
        raise InputError("configs/demo.py: not found; run this in the repository's top folder")
    started = time.perf_counter()
    for command in COMMANDS:
        print(f"\n$ python -m {command}", flush=True)
        if status := _run([sys.executable, "-m", *command.split()]):
            return status
    print(
        f"\nAll of it took {time.perf_counter() - started:.0f} s. These are synthetic photos; README.md has the real ones."
    )
    return 0


def _run(command: list[str]) -> int:
    """Exit status of a command. Ctrl-C reaches it from the terminal and is its own affair: it may be saving."""
    with subprocess.Popen(command) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return abs(process.wait())
        except interrupts.Terminated:
            process.terminate()
            raise
        finally:
            signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    interrupts.raise_interrupts()
    run_command(main)
