"""How fast something is: runs taken in turn, their median and spread, and what the devices could do at most."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from svhn_jax import output
from svhn_jax.runs.versions import versions
from svhn_jax.training import devices

PRODUCTS = 32  # matrix products in a row, so that what is measured is not their start


class Spread(NamedTuple):
    """The median of n runs, and the least and the greatest of them."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 2 if self.median >= 1 else 3
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: list[float]) -> Spread:
    """The median, least and greatest of one or more runs."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def in_turn(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The results of each of `runs`, which are called in turn, once a round, so that a slow moment affects all alike.

    A first round, which compiles and fills caches, is not counted.
    """
    results: dict[str, list[float]] = {name: [] for name in runs}
    with output.progress(f"{rounds} rounds", (rounds + 1) * len(runs), "runs") as advance:
        for number in range(rounds + 1):
            for name, run in runs.items():
                result = run()
                if number:
                    results[name].append(result)
                advance(1)
    return results


def ratios(results: Mapping[str, list[float]], of: str, to: str) -> Spread:
    """The ratios of two measurements that were taken in turn, round by round."""
    return spread([one / other for one, other in zip(results[of], results[to], strict=True)])


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """How long `work` takes, until the arrays it returns are there."""
    start = time.perf_counter()
    jax.block_until_ready(work(*arguments))
    return time.perf_counter() - start


def matmul_run(dtype: Any, mesh: Mesh) -> Callable[[], float]:
    """A measurement of the TFLOP/s of large square matrix products on all devices: the ceiling of their arithmetic."""
    side = 1024 if mesh.devices.flat[0].platform == "cpu" else 8192
    sharding = devices.sharded(mesh)
    draw = jax.jit(
        lambda: jax.random.normal(jax.random.key(0), (mesh.size, side, side)).astype(dtype),
        out_shardings=sharding,
    )
    factors = draw()  # random values: a GPU multiplies zeros faster

    def products(x: jax.Array) -> jax.Array:
        factor = (
            x[0] / side**0.5
        )  # so that the products are as large as their factors, and need no scaling
        y = x[0]
        for _ in range(PRODUCTS):
            y = jnp.matmul(factor, y)
        return y[None]

    run = jax.jit(
        jax.shard_map(products, mesh=mesh, in_specs=sharding.spec, out_specs=sharding.spec)
    )
    return lambda: 2 * side**3 * PRODUCTS * mesh.size / seconds(run, factors) / 1e12


def hardware(mesh: Mesh) -> dict[str, Any]:
    """What was measured on: devices, processor, date and versions."""
    device = mesh.devices.flat[0]
    return {
        "device": f"{mesh.size} x {device.device_kind}",
        "processor": _processor(),
        "machine": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = [
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            ]
        return f"{len(names)} x {names[0]}"
    except (OSError, IndexError):
        return platform.processor()
