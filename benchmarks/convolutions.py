"""python benchmarks/convolutions.py: Winograd's algorithm beside XLA's convolution, for potterhsu's layers and some of 3x3.

Float32, batch 64, forwards and backwards (both gradients), in turn, after a round that does not
count. GFLOP/s of the plain convolution's arithmetic, whatever is computed. The last line is JSON.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from jax import lax
from rich.console import Console
from rich.table import Table

from svhn_jax.benchmarking import timing
from svhn_jax.errors import InputError, run_command
from svhn_jax.model import winograd
from svhn_jax.training import devices

# Side of the map, channels in and out, side of the kernel.
LAYERS = (
    (28, 48, 64, 5), (29, 64, 128, 5), (15, 128, 160, 5), (16, 160, 192, 5), (9, 192, 192, 5), (10, 192, 192, 5),
    (6, 192, 192, 5), (27, 128, 128, 3), (14, 128, 128, 3), (7, 256, 256, 3),
)  # fmt: skip
FORMS = ("xla, forwards", "xla, backwards", "winograd, forwards", "winograd, backwards")


@dataclass(frozen=True)
class Options:
    """Times convolutions."""

    rounds: int = 7
    """runs of each"""
    batch_size: int = 64
    """images"""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.batch_size < 1:
            raise InputError("--rounds and --batch-size must be at least 1")


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    console = Console(highlight=False, markup=False)
    table = Table(
        title=f"GFLOP/s, batch {options.batch_size}: forwards, then both gradients; median of {options.rounds}"
    )
    for column in ("layer", "m", "XLA", "", "Winograd", "", "ratio of the whole", "difference"):
        table.add_column(column, justify="right")
    figures = []
    for layer in LAYERS:
        figures.append(row := _measure(*layer, options))
        table.add_row(
            row["layer"], str(row["m"]), *(f"{row[name]['median']:.0f}" for name in FORMS),
            str(timing.Spread(**row["ratio"])), f"{row['difference']:.0e}",
        )  # fmt: skip
    console.print(table)
    print(json.dumps({"layers": figures} | timing.hardware(devices.make_mesh())))
    return 0


def _measure(side: int, inputs: int, outputs: int, r: int, options: Options) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(0), 3)
    images = jax.random.normal(keys[0], (options.batch_size, side, side, inputs))
    kernel = jax.random.normal(keys[1], (r, r, inputs, outputs)) / (r * inputs**0.5)
    grads = jax.random.normal(keys[2], (options.batch_size, side, side, outputs))
    m = winograd.output_tile(images.shape, kernel.shape)
    if m is None:
        raise InputError(f"{side}x{side}, {inputs} to {outputs}: left to XLA")

    def xla(images: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def by_winograd(images: jax.Array, kernel: jax.Array) -> jax.Array:
        return winograd.winograd(images, kernel, m)

    forwards = [jax.jit(form) for form in (xla, by_winograd)]
    backwards = [
        jax.jit(lambda images, kernel, grads, form=form: jax.vjp(form, images, kernel)[1](grads))
        for form in (xla, by_winograd)
    ]
    flop = 2 * options.batch_size * side**2 * inputs * outputs * r**2

    def rate(count: int, work: Callable[[], Any]) -> Callable[[], float]:
        return lambda: count * flop / timing.seconds(work) / 1e9

    runs = {
        FORMS[0]: rate(1, lambda: forwards[0](images, kernel)),
        FORMS[1]: rate(2, lambda: backwards[0](images, kernel, grads)),
        FORMS[2]: rate(1, lambda: forwards[1](images, kernel)),
        FORMS[3]: rate(2, lambda: backwards[1](images, kernel, grads)),
    }
    results = timing.in_turn(runs, options.rounds)
    whole = [
        (1 / xla_f + 2 / xla_b) / (1 / ours_f + 2 / ours_b)
        for xla_f, xla_b, ours_f, ours_b in zip(*(results[name] for name in FORMS), strict=True)
    ]
    all_results = [
        (f(images, kernel), *b(images, kernel, grads))
        for f, b in zip(forwards, backwards, strict=True)
    ]
    difference = max(
        float(jnp.abs(a - b).max() / jnp.abs(a).max()) for a, b in zip(*all_results, strict=True)
    )
    return {
        "layer": f"{side}x{side}, {inputs} to {outputs}, {r}x{r}",
        "m": m,
        **{name: timing.spread(values)._asdict() for name, values in results.items()},
        "ratio": timing.spread(whole)._asdict(),
        "difference": difference,
    }


if __name__ == "__main__":
    run_command(main)
