"""python tests/faults/attack.py kill-run|kill-data|damage-run --count N --seed S: attacks on the commands of the package.

kill-run: kills a training run, which must end in the same bits as one that was not killed.
kill-data: kills download, preprocess and synthesize, which must leave the same bytes and no other file.
damage-run: damages the files of a stopped run, which must go on to the same bits or be refused with one line.
Prints one line for each kind of attack, the problems found, and the counts as JSON. Status 1 on a problem.
"""

import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

sys.path.insert(1, str(Path(__file__).parents[2]))
sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "fuzz")]
import damages
import kills

from svhn_jax.errors import InputError, run_command

ATTACKS = {
    "kill-run": kills.kill_run,
    "kill-data": kills.kill_data,
    "damage-run": damages.damage_run,
}


@dataclass(frozen=True)
class Options:
    """Kills commands, or damages files, at random."""

    attack: tyro.conf.Positional[Literal["kill-run", "kill-data", "damage-run"]]
    count: int = 30
    """kills or damages"""
    seed: int = 0
    """of the random choices"""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"--count is {self.count}; it must be at least 1")


def main() -> int:
    options = tyro.cli(Options, prog="python tests/faults/attack.py", description=__doc__)
    with tempfile.TemporaryDirectory(prefix="attack-") as work:
        results = ATTACKS[options.attack](Path(work), options.count, random.Random(options.seed))
    for problem in [result.problem for result in results if result.problem]:
        print(problem)
    for kind in sorted({result.kind for result in results}):
        counts = Counter(result.outcome for result in results if result.kind == kind)
        print(
            f"{kind}: "
            + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        )
    failed = sum(result.outcome == "failed" for result in results)
    print(
        json.dumps(
            {
                "attack": options.attack,
                "count": options.count,
                "seed": options.seed,
                "failed": failed,
            }
        )
    )
    return int(failed > 0)


if __name__ == "__main__":
    run_command(main)
