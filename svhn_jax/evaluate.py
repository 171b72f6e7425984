"""python -m svhn_jax.evaluate --run FOLDER --split test --step best: scores saved steps of a run.

Every metric is over the whole split. Prints a table and merges it into FOLDER/results/SPLIT.csv
(with --data: SPLIT-NAME-FINGERPRINT.csv).
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

from svhn_jax import command_line
from svhn_jax.errors import run_command
from svhn_jax.options import Evaluate


def main() -> int:
    options = command_line.parse(Evaluate, "python -m svhn_jax.evaluate", __doc__ or "")
    from svhn_jax.inference import evaluation  # imports JAX, which takes seconds: not for --help

    return evaluation.run(options)


if __name__ == "__main__":
    run_command(main)
