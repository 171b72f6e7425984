"""python benchmarks/profile_step.py --config configs/NAME.py: which operations a train step spends its time on.

Records jax.profiler's trace of a few steps on random pixels and sums the durations of each
operation of the device. The last line is JSON.
"""

import gzip
import json
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import tyro

from svhn_jax import config_files
from svhn_jax.benchmarking import timing
from svhn_jax.benchmarking.workload import BenchmarkLoop, random_data
from svhn_jax.errors import run_command
from svhn_jax.training import devices

TOP = 15  # operations in the table


@dataclass(frozen=True)
class Options:
    """Profiles the train step of a configuration."""

    config: Path
    """the configuration file"""
    steps: int = 20
    """steps that are recorded"""
    batch_size: int = 0
    """0: the configuration's"""
    to: Path | None = None
    """a JSON file for the figures"""


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    config = config_files.load(options.config)
    config = replace(config, batch_size=options.batch_size or config.batch_size)
    mesh = devices.make_mesh()
    with tempfile.TemporaryDirectory() as folder:
        data = random_data(4 * config.batch_size, Path(folder), config.model.max_digits)
        loop = BenchmarkLoop(config, data, mesh)
        loop.end_to_end(3)  # compiles
        with jax.profiler.trace(f"{folder}/trace", create_perfetto_trace=True):
            seconds = timing.seconds(loop.end_to_end, options.steps)
        [path] = Path(folder, "trace").rglob("perfetto_trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    spent = operation_times(events)
    total = sum(spent.values())
    print(
        f"{1e3 * seconds / options.steps:.2f} ms a step; {total / options.steps:.2f} ms in operations"
    )
    for name, ms in spent.most_common(TOP):
        print(f"{ms / options.steps:9.3f} ms {ms / total:6.1%}  {name}")
    figures = {
        "ms_a_step": 1e3 * seconds / options.steps,
        "ms_of_operations": {name: ms / options.steps for name, ms in spent.most_common(100)},
        "batch_size": config.batch_size,
    } | timing.hardware(mesh)
    if options.to:
        options.to.write_text(json.dumps(figures))
    print(json.dumps(figures))
    return 0


def operation_times(events: list[dict[str, Any]]) -> Counter[str]:
    """Milliseconds of each XLA operation in a trace's events."""
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("ph") == "X" and "hlo_op" in event.get("args", {}):
            spent[event["name"]] += event["dur"] / 1e3
    return spent


if __name__ == "__main__":
    run_command(main)
