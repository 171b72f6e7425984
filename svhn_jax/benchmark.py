"""python -m svhn_jax.benchmark --config configs/NAME.py [overrides]: measures how fast it trains.

On images of random pixels; needs no data set. Measured in turn, round by round, after a round that
does not count: the train step alone (its batch is on the devices), training with the set resident
on the devices and streamed from disk, and matrix products, the ceiling. Spreads are the least and
the greatest of the rounds.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from svhn_jax import cli
from svhn_jax.checked import Checked, at_least, within
from svhn_jax.config import Config
from svhn_jax.output import Terminal

ALONE, CEILING = "train, step alone", "matrix products"


@dataclass(frozen=True)
class Options(Checked):
    """Measures a configuration."""

    config: Path = Path("configs/demo.py")
    """the configuration file; options named like its fields override them"""
    rounds: Annotated[int, at_least(1)] = 5
    """runs of each measurement"""
    seconds: Annotated[float, within(0.01, 3600)] = 3.0
    """length of a run"""
    images: Annotated[int, at_least(1)] = 20_000
    """number of images in the training set"""
    settings: Annotated[Config, cli.UNPREFIXED] = field(default_factory=Config)


def main(options: Options, terminal: Terminal) -> None:
    import jax.numpy as jnp  # takes seconds: not for --help
    from rich.table import Table

    from svhn_jax.model import counting
    from svhn_jax.training import devices, speed
    from svhn_jax.training.reader_task import ReaderTask

    config, task, mesh = options.settings, ReaderTask(options.settings), devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    with tempfile.TemporaryDirectory() as folder:
        data = speed.random_data(config, options.images, Path(folder))
        resident = speed.BenchmarkLoop(config, data, mesh)
        streamed = speed.BenchmarkLoop(config, data, mesh, is_streamed=True)
        resident.step_only(1)
        steps = max(1, round(options.seconds / speed.seconds(resident.step_only, 1)))
        images = steps * config.batch_size
        runs = {
            ALONE: lambda: images / speed.seconds(resident.step_only, steps),
            "train, resident": lambda: images / speed.seconds(resident.end_to_end, steps),
            "train, streamed": lambda: images / speed.seconds(streamed.end_to_end, steps),
            CEILING: speed.matmul_run(jnp.dtype(config.model.compute_dtype), mesh),
        }
        results = speed.in_turn(runs, options.rounds, terminal)
    macs = counting.count_macs(task.network, task.input_shape)
    # Forwards and two gradients, two operations each.
    results["arithmetic of training"] = [6 * macs * rate / 1e12 for rate in results[ALONE]]
    table = Table(title=f"{options.config}, batch {config.batch_size}")
    table.add_column("measurement")
    table.add_column("median (least to greatest)", justify="right")
    for name, values in results.items():
        unit = "images/s" if name in runs and name != CEILING else "TFLOP/s"
        table.add_row(f"{name}, {unit}", str(speed.spread(values)))
    about = {"config": str(options.config), "batch_size": config.batch_size, "images": images}
    about |= speed.about(mesh)
    table.add_row("peak memory, GB", f"{about['peak_memory_gb']:.2f}")
    terminal.print(table)
    spreads = {name: speed.spread(values)._asdict() for name, values in results.items()}
    terminal.result(about | spreads)


if __name__ == "__main__":
    cli.run(Options, main)
