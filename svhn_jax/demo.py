"""python -m svhn_jax.demo: the whole pipeline on the embedded default data, in a few minutes on 2 cores.

Renders synthetic house-number archives, crops them, trains configs/demo.py and scores it on numbers
it has not seen. Run it again: what is done is not done twice.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from svhn_jax import command_line, output
from svhn_jax.errors import InputError, run_command
from svhn_jax.options import OutputOptions
from svhn_jax.output import Output

COMMANDS = (
    "svhn_jax.synthesize --to data/synthetic_raw --train 40000 --test 1000",
    "svhn_jax.preprocess --raw data/synthetic_raw --to data/synthetic",
    "svhn_jax.train --config configs/demo.py",
    "svhn_jax.evaluate --config configs/demo.py --split validation --step all",
    "svhn_jax.evaluate --config configs/demo.py --split test --step best",
)


@dataclass(frozen=True)
class Options:
    """The demo runs as it is."""

    output: OutputOptions = field(default_factory=Output)


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.demo", __doc__ or "")
    console = output.console(options.output)
    if not Path("configs/demo.py").is_file():
        raise InputError("configs/demo.py: not found; run this in the repository's top folder")
    started = time.perf_counter()
    printed = ""
    for command in COMMANDS:
        console.print(f"\n$ python -m {command}")
        options_too = (
            ["--json"] if options.output.json else ["--quiet"] if options.output.quiet else []
        )
        status, printed = _run(
            [sys.executable, "-m", *command.split(), *options_too], is_read=options.output.json
        )
        if status:
            return status
    seconds = time.perf_counter() - started
    console.print(
        f"\nAll of it took {seconds:.0f} s. These are synthetic photos; README.md has the real ones. A page of the results:\n"
        "  python -m svhn_jax.report --run checkpoints/demo --to demo.html"
    )
    if options.output.json:
        output.print_json(
            options.output, {"seconds": round(seconds, 1), "evaluation": json.loads(printed)}
        )
    return 0


def _run(command: list[str], *, is_read: bool) -> tuple[int, str]:
    """Exit status of a command, and what it prints if that is to be read. Ctrl-C reaches it from the terminal and is its
    own affair: it may be saving."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE if is_read else None, text=True
    ) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            printed = process.communicate()[0] or ""
            return abs(process.returncode), printed
        except interrupts.Terminated:
            process.terminate()
            raise
        finally:
            signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    interrupts.raise_interrupts()
    run_command(main)
