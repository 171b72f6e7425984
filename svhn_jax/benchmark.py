"""python -m svhn_jax.benchmark --config configs/NAME.py [overrides]: how fast a configuration trains and evaluates here.

On images of random pixels; needs no data set. Measured in turn, round by round, after a round that
does not count: the train step alone (its batch is on the devices), the same without augmentation, training with
the set resident on the devices and streamed from disk, evaluation, and matrix products, the ceiling.
Then training on 1, 2, 4 ... devices, in turn; the dispatch of a step that does nothing; and, before
all of it, the time from the start of a process to its first step, with nothing compiled and with all.
Prints a table, or with --json one line of JSON. Spreads are the least and the greatest of the rounds.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import sys

from svhn_jax import command_line
from svhn_jax.errors import run_command
from svhn_jax.options import Benchmark


def main() -> int:
    options = command_line.parse_with_config(
        Benchmark, "python -m svhn_jax.benchmark", __doc__ or ""
    )
    from svhn_jax.benchmarking import measure  # imports JAX, which takes seconds: not for --help

    return measure.run(options, sys.argv[1:])


if __name__ == "__main__":
    run_command(main)
