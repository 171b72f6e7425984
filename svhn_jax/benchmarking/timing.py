"""How fast something is: runs in turn, their median and spread, the hardware's ceiling."""

import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from svhn_jax.output import SILENT, Terminal
from svhn_jax.runs.versions import versions
from svhn_jax.training import devices

PRODUCTS = 32  # matrix products in a row, so that their start does not count


class Spread(NamedTuple):
    """The median, the least and the greatest of n runs."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 2 if self.median >= 1 else 3
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values), len(values))


def in_turn(
    runs: Mapping[str, Callable[[], float]], rounds: int, terminal: Terminal = SILENT
) -> dict[str, list[float]]:
    """Results of `runs`, called in turn, once a round: a slow moment affects all alike.

    A first round, which compiles and fills caches, is not counted.
    """
    results: dict[str, list[float]] = {name: [] for name in runs}
    with terminal.progress(f"{rounds} rounds", (rounds + 1) * len(runs), "runs") as advance:
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
    """A measurement of the TFLOP/s of large square matrix products on all devices: the ceiling."""
    side = 1024 if mesh.devices.flat[0].platform == "cpu" else 8192
    sharding = devices.sharded(mesh)
    shape = (mesh.size, side, side)  # random values: a GPU multiplies zeros faster
    draw = jax.jit(
        lambda: jax.random.normal(jax.random.key(0), shape).astype(dtype), out_shardings=sharding
    )
    factors = draw()

    def products(x: jax.Array) -> jax.Array:
        factor, y = x[0] / side**0.5, x[0]  # so that the products stay as large as their factors
        for _ in range(PRODUCTS):
            y = jnp.matmul(factor, y)
        return y[None]

    run = jax.jit(
        jax.shard_map(products, mesh=mesh, in_specs=sharding.spec, out_specs=sharding.spec)
    )
    return lambda: 2 * side**3 * PRODUCTS * mesh.size / seconds(run, factors) / 1e12


def peak_memory(mesh: Mesh) -> int:
    """Bytes: of a device where it reports them, otherwise of this process."""
    stats = mesh.devices.flat[0].memory_stats()
    of_process = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return stats["peak_bytes_in_use"] if stats else of_process


def hardware(mesh: Mesh) -> dict[str, Any]:
    """Devices, processor, date and versions of a measurement."""
    names = []
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        names = [line.partition(": ")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "device": f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
        "processor": f"{len(names)} x {names[0]}" if names else platform.processor(),
        "machine": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions(),
    }
