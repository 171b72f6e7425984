"""python benchmarks/time_to_accuracy.py: what two recipes learn from the same crops in the same time, on this device.

Ours (configs/real.py) and potterhsu's network and recipe (configs/potterhsu.py, its batch and learning
rate both an eighth of the published, for more updates), both by svhn_jax.train, one after the other.
Each is first timed for a few steps, and given as many epochs as should fill --minutes, so that its
learning rate has come to an end by then. Validated ten times; the clock runs from the start of the
process, compilation and validation included, and what comes after its time does not count. The data
sets of configs/real.py must be there. The last line is JSON.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from svhn_jax import config_files
from svhn_jax.benchmarking import timing
from svhn_jax.benchmarking.workload import BenchmarkLoop
from svhn_jax.config import Config
from svhn_jax.errors import InputError, run_command
from svhn_jax.training import devices
from svhn_jax.training.dataset import load_training_set

CONFIGS = Path(__file__).parent.parent / "configs"
VALIDATIONS = 10
LINE = re.compile(r"Step: +(\d+)/\d+, validation: .*Seq Acc: ([\d.]+), Dig Acc: ([\d.]+)")
USED = 0.85  # of the time is planned for steps; the rest is for starting, validating and saving


@dataclass(frozen=True)
class Options:
    """Trains two recipes for the same time."""

    minutes: float = 10.0
    """of each"""
    batch_size: int = 64
    """of potterhsu's recipe; its learning rate is 0.16 x batch_size / 512"""
    seed: int = 0


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    if not 0 < options.minutes < 10_000 or options.batch_size < 1:
        raise InputError("--minutes and --batch-size must be greater than 0")
    console = Console(highlight=False, markup=False)
    ours = config_files.load(CONFIGS / "real.py")
    peer = config_files.load(CONFIGS / "potterhsu.py")
    peer = dataclasses.replace(
        peer,
        batch_size=options.batch_size,
        data=ours.data,
        optimizer=dataclasses.replace(
            peer.optimizer,
            learning_rate=peer.optimizer.learning_rate * options.batch_size / peer.batch_size,
        ),
    )
    reached = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, config in (
            ("svhn_jax, configs/real.py", ours),
            ("potterhsu's network and recipe", peer),
        ):
            config = dataclasses.replace(config, runs_dir=folder, seed=options.seed)
            config, rate = _that_fills(config, 60 * options.minutes)
            console.print(
                f"{name}: {rate:,.0f} images/s, {config.num_steps:,} steps planned", soft_wrap=True
            )
            reached[name] = _train(console, config, 60 * options.minutes)
            shutil.rmtree(f"{folder}/{config.name}")
    _print_table(console, reached)
    print(
        json.dumps(
            {"minutes": options.minutes, "seed": options.seed, "validations": reached}
            | timing.hardware(devices.make_mesh())
        )
    )
    return 0


def _that_fills(config: Config, budget_s: float) -> tuple[Config, float]:
    """The configuration with as many steps as fill the time, and its images a second."""
    mesh, data = devices.make_mesh(), load_training_set(config)
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    loop = BenchmarkLoop(config, data, mesh)
    loop.step_only(2)
    count = max(3, round(10 / timing.seconds(loop.step_only, 1)))
    rate = count * config.batch_size / timing.seconds(loop.step_only, count)
    steps = max(1, round(USED * budget_s * rate / config.batch_size))
    every = max(1, round(steps / VALIDATIONS))
    return dataclasses.replace(
        config, num_steps=steps, eval_every_steps=every, log_every_steps=every
    ), rate


def _train(console: Console, config: Config, budget_s: float) -> list[dict[str, Any]]:
    """The validations of the run: seconds since its start, step, and both accuracies."""
    path = Path(config.runs_dir) / f"{config.name}.py"
    path.write_text(
        "import json\nfrom svhn_jax import config_files\n"
        f"config = config_files.from_json({json.dumps(config_files.to_json(config))}, 'time_to_accuracy')\n"
    )
    start, rows = time.perf_counter(), []
    command = [sys.executable, "-u", "-m", "svhn_jax.train", "--config", str(path)]
    env = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout
        for line in process.stdout:
            if match := LINE.search(line):
                seconds = time.perf_counter() - start
                if seconds > budget_s:
                    process.kill()
                    break
                rows.append({
                    "seconds": round(seconds, 1), "step": int(match[1]), "sequence_accuracy": float(match[2]),
                    "digit_accuracy": float(match[3]),
                })  # fmt: skip
                console.print(
                    f"{seconds:6.0f} s, step {match[1]}: sequence {match[2]}, digits {match[3]}"
                )
    if process.returncode not in (0, -9):
        raise InputError(
            f"the training of {config.name} ended with status {process.returncode}: see above"
        )
    return rows


def _print_table(console: Console, reached: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(title="on validation")
    for column in ("", "seconds", "sequence", "digits"):
        table.add_column(column, justify="right")
    for name, rows in reached.items():
        for row in rows:
            table.add_row(
                name,
                f"{row['seconds']:.0f}",
                f"{row['sequence_accuracy']:.3f}",
                f"{row['digit_accuracy']:.3f}",
            )
    console.print(table)


if __name__ == "__main__":
    run_command(main)
