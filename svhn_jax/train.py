"""python -m svhn_jax.train --config configs/NAME.py [overrides]: trains a run, or continues it.

A run is the folder RUNS/NAME (see svhn_jax.runs.folder). The same command again continues from its
newest checkpoint. Ctrl-C or SIGTERM saves first, once it trains; then the exit status is 130 or 143.

Started many times at once (TPU pod, SLURM, Open MPI, indexed Kubernetes Job, or with --coordinator, --processes, --process),
the processes train one run together on all their devices; process 0 alone reports, and touches the
run's folder. If one is lost, the others stop, with exit status 75 or, ended by JAX, 134.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

from svhn_jax import command_line
from svhn_jax.errors import run_command
from svhn_jax.options import Train


def main() -> int:
    options = command_line.parse_with_config(Train, "python -m svhn_jax.train", __doc__ or "")
    from svhn_jax.training import (
        run as training_run,
    )  # imports JAX, which takes seconds: not for --help

    return training_run.run(options.settings, options.processes, options.output)


if __name__ == "__main__":
    run_command(main)
