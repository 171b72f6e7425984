"""python -m svhn_jax.train --config configs/NAME.py [overrides]: trains a run, or continues it.

A run is the folder RUNS/NAME (see svhn_jax.runs.folder). The same command again continues from its
newest checkpoint. While it trains, Ctrl-C or SIGTERM saves first; the exit status is 130 or 143.

Started many times at once (by SLURM or Open MPI, on a TPU pod slice, or with --coordinator,
--processes, --process), the processes train one run together on all their devices; process 0 alone
reports and writes the run's folder. If one is lost, the others stop, with status 75 or, ended by
JAX, 134.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from svhn_jax import cli
from svhn_jax.config import Config
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options:
    """Trains a run, or continues it."""

    config: Path
    """the configuration file; options named like its fields override them"""
    start: str | None = None
    """folder of a run, published ones included: begin with its weights where they fit"""
    processes: Annotated[cli.Processes, cli.UNPREFIXED] = field(default_factory=cli.Processes)
    settings: Annotated[Config, cli.UNPREFIXED] = field(default_factory=Config)


def main(options: Options, terminal: Terminal) -> int:
    from svhn_jax.training import run  # imports JAX, which takes seconds: not for --help

    return run.run(
        options.settings,
        start=options.start,
        coordinator=options.processes.coordinator,
        count=options.processes.processes,
        index=options.processes.process,
        terminal=terminal,
    )


if __name__ == "__main__":
    cli.run(Options, main)
