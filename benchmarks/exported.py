"""python benchmarks/exported.py --data DIR: size and images/s of exported files beside JAX.

Each form gets uint8 crops as a numpy array, and gives the number and its probabilities as numpy arrays. The forms are timed
in turn, after a round that does not count, with the same number of threads: ONNX in onnxruntime, StableHLO in JAX. The last
line is JSON.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import onnxruntime
import tyro
from jax import export
from rich.console import Console
from rich.table import Table

from svhn_jax.benchmarking import timing
from svhn_jax.data import arrays
from svhn_jax.errors import InputError, run_command
from svhn_jax.exporting import interface, onnx_model, quantization, stablehlo
from svhn_jax.inference.photo_reader import PRETRAINED
from svhn_jax.inference.reader import Reader
from svhn_jax.model import networks
from svhn_jax.model.counting import count_params
from svhn_jax.training import compilation, devices

JAX = "JAX"
PAUSE_S = 0.05  # before a run, not timed: the threads of the form before it go to sleep
Read = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Options:
    """Times exported files beside JAX."""

    data: str
    """a prepared data set: its training crops calibrate int8, its validation crops are read"""
    run: str = str(PRETRAINED)
    """the run's folder"""
    step: str = "best"
    """best, latest or a step's number"""
    rounds: int = 9
    """runs of each form"""
    seconds: float = 0.5
    """length of a run"""
    batch_sizes: tuple[int, ...] = (1, 64)
    """images at a time"""

    def __post_init__(self) -> None:
        if min(self.rounds, *self.batch_sizes) < 1 or not self.seconds > 0:
            raise InputError("--rounds, --seconds and --batch-sizes must be greater than 0")


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    console = Console(highlight=False, markup=False)
    reader, threads = Reader(options.run, options.step), len(os.sched_getaffinity(0))
    crops = np.asarray(arrays.load_split(options.data, "validation").images)
    if len(crops) < max(options.batch_sizes):
        raise InputError(
            f"{options.data}: has {len(crops)} validation images, fewer than --batch-sizes"
        )
    forms, sizes = _forms(
        reader, np.asarray(arrays.load_split(options.data, "train").images), threads
    )
    results = {
        batch: timing.in_turn(
            {name: _run(read, crops[:batch], options.seconds) for name, read in forms.items()},
            options.rounds,
        )
        for batch in options.batch_sizes
    }
    columns = [
        text for batch in options.batch_sizes for text in (f"images/s, batch {batch}", "to JAX")
    ]
    table = Table(
        "form", "MB", *columns, title=f"median (range) of {options.rounds} runs, {threads} threads"
    )
    rows: dict[str, dict[str, Any]] = {}
    for name in forms:
        cells, rows[name] = [], {"bytes": sizes[name]}
        for batch, of in results.items():
            rate, ratio = timing.spread(of[name]), timing.ratios(of, name, JAX)
            rows[name][f"batch {batch}"] = {
                "images_per_s": rate._asdict(),
                "to_jax": ratio._asdict(),
            }
            cells += [str(rate), str(ratio)]
        table.add_row(name, f"{sizes[name] / 1e6:.2f}", *cells)
    console.print(table)
    about = timing.hardware(devices.make_mesh()) | {
        "onnxruntime": onnxruntime.__version__,
        "threads": threads,
    }
    print(json.dumps({"forms": rows, "run": options.run, "step": reader.step} | about))
    return 0


def _forms(
    reader: Reader, calibration: np.ndarray, threads: int
) -> tuple[dict[str, Read], dict[str, int]]:
    """What is timed, and its size in bytes; JAX's is that of the params."""
    config = interface.float32_config(reader.config, reader.config.model.convolution)
    network, variables = networks.build(config.model), jax.device_put(reader.variables)
    compiled = jax.jit(
        lambda variables, crops: interface.outputs_of(
            interface.logits_of(config, network, variables, crops)
        ),
        compiler_options=compilation.compiler_options(devices.make_mesh()),
    )
    artefact = stablehlo.build(reader)
    loaded = jax.jit(export.deserialize(bytearray(artefact)).call)
    forms: dict[str, Read] = {
        JAX: lambda crops: jax.device_get(compiled(variables, crops)),
        "StableHLO": lambda crops: jax.device_get(loaded(crops)),
    }
    sizes = {JAX: 4 * count_params(reader.variables), "StableHLO": len(artefact)}
    models = {
        precision: onnx_model.build(reader, precision) for precision in ("float32", "float16")
    }
    models["int8"] = quantization.quantize(models["float32"], calibration)
    for precision, model in models.items():
        content, name = model.SerializeToString(), f"ONNX {precision}"
        session = onnx_model.load(content, threads)
        forms[name] = lambda crops, session=session: onnx_model.run(session, crops)  # type: ignore[misc]
        sizes[name] = len(content)
    return forms, sizes


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
    run_command(main)
