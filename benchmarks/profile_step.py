"""python benchmarks/profile_step.py --config configs/NAME.py: the operations of a train step.

Records jax.profiler's trace of a few steps on random pixels, sums the durations of each operation
on the device and prints the longest.
"""

import gzip
import json
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import jax

from svhn_jax import cli, config_files
from svhn_jax.checked import Checked, at_least
from svhn_jax.output import Terminal
from svhn_jax.training import devices, speed

TOP = 15  # operations that are printed


@dataclass(frozen=True)
class Options(Checked):
    """Profiles the train step of a configuration."""

    config: Path
    """the configuration file"""
    steps: Annotated[int, at_least(1)] = 20
    """steps that are recorded"""
    batch_size: Annotated[int, at_least(0)] = 0
    """0: the configuration's"""


def main(options: Options, terminal: Terminal) -> None:
    config = config_files.load(options.config)
    config = replace(config, batch_size=options.batch_size or config.batch_size)
    mesh = devices.make_mesh()
    with tempfile.TemporaryDirectory() as folder:
        data = speed.random_data(config, 4 * config.batch_size, Path(folder))
        loop = speed.BenchmarkLoop(config, data, mesh)
        loop.end_to_end(3)  # compiles
        with jax.profiler.trace(f"{folder}/trace", create_perfetto_trace=True):
            step_ms = 1e3 * speed.seconds(loop.end_to_end, options.steps) / options.steps
        [path] = Path(folder, "trace").rglob("perfetto_trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("ph") == "X" and "hlo_op" in event.get("args", {}):
            spent[event["name"]] += event["dur"] / 1e3 / options.steps
    terminal.print(f"a step: {step_ms:.2f} ms; its operations: {spent.total():.2f} ms")
    for name, ms in spent.most_common(TOP):
        terminal.print(f"{ms:9.3f} ms {ms / spent.total():6.1%}  {name}")
    figures = {"step_ms": step_ms, "operation_ms": dict(spent.most_common(100))}
    figures |= {"batch_size": config.batch_size} | speed.about(mesh)
    terminal.result(figures)


if __name__ == "__main__":
    cli.run(Options, main)
