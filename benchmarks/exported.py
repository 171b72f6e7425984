"""python benchmarks/exported.py --data DIR: size and images/s of exported files beside JAX.

Each form gets uint8 crops as a numpy array and returns numbers and probabilities as numpy arrays:
ONNX in onnxruntime, StableHLO in JAX, all with the same number of threads, in turn, after a round
that does not count.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np
from jax import export
from rich.table import Table

from svhn_jax import cli
from svhn_jax.checked import Checked, Positive, at_least
from svhn_jax.data import arrays
from svhn_jax.exporting import onnx_model, stablehlo
from svhn_jax.inference.photo_reader import PRETRAINED
from svhn_jax.inference.reader import Reader
from svhn_jax.output import Terminal
from svhn_jax.training import devices, speed

BATCH_SIZES = (1, 64)
PAUSE_S = 0.05  # before a run, not timed: the threads of the form before it go to sleep
Read = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Options(Checked):
    """Times exported files beside JAX."""

    data: str
    """a prepared data set, whose validation crops are read"""
    run: str = str(PRETRAINED)
    """the run's folder"""
    rounds: Annotated[int, at_least(1)] = 9
    """runs of each form"""
    seconds: Positive = 0.5
    """length of a run"""


def main(options: Options, terminal: Terminal) -> None:
    threads = len(os.sched_getaffinity(0))
    crops = np.asarray(arrays.load_split(options.data, "validation").images)
    forms, megabytes = _forms(options, threads)
    title = f"images/s, median (range) of {options.rounds} runs, {threads} threads"
    table = Table("form", "MB", *(f"batch {n}" for n in BATCH_SIZES), title=title)
    rates: dict[str, dict[str, Any]] = {name: {} for name in forms}
    for size in BATCH_SIZES:
        runs = {name: _run(read, crops[:size], options.seconds) for name, read in forms.items()}
        for name, values in speed.in_turn(runs, options.rounds).items():
            rates[name][f"batch {size}"] = speed.spread(values)
    for name, row in rates.items():
        table.add_row(name, f"{megabytes[name]:.2f}", *map(str, row.values()))
    terminal.print(table)
    about = speed.about(devices.make_mesh()) | {"threads": threads, "run": options.run}
    terminal.result({"images_per_s": rates, "megabytes": megabytes} | about)


def _forms(options: Options, threads: int) -> tuple[dict[str, Read], dict[str, float]]:
    """What is timed, and its size in MB; JAX's is that of its variables."""
    readers = {size: Reader(options.run, batch_size=size) for size in BATCH_SIZES}
    reader = readers[BATCH_SIZES[0]]
    artefact = stablehlo.build(reader)
    onnx = onnx_model.build(reader).SerializeToString()
    session = onnx_model.load(onnx, threads)
    loaded = jax.jit(export.deserialize(bytearray(artefact)).call)
    forms: dict[str, Read] = {
        "JAX": lambda crops: readers.get(len(crops), reader).read(crops),
        "StableHLO": lambda crops: jax.device_get(loaded(crops)),
        "ONNX": lambda crops: onnx_model.run(session, crops),
    }
    in_jax = sum(leaf.nbytes for leaf in jax.tree.leaves(reader.variables))
    sizes = {"JAX": in_jax, "StableHLO": len(artefact), "ONNX": len(onnx)}
    return forms, {name: size / 1e6 for name, size in sizes.items()}


def _run(read: Read, crops: np.ndarray, seconds: float) -> Callable[[], float]:
    """A measurement of images/s."""

    def run() -> float:
        time.sleep(PAUSE_S)
        read(crops)
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            read(crops)
            count += len(crops)
        return count / spent

    return run


if __name__ == "__main__":
    cli.run(Options, main)
