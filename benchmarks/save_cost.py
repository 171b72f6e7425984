"""python benchmarks/save_cost.py: how long saving a state holds up the training, and what restoring reads.

Saves a state of about --megabytes again and again, the loop's part and the whole of each save timed apart, while a
step-like computation goes on between; then restores what evaluation needs, and all, and counts the bytes read (as
/proc/self/io has them, so Linux only). The first save, which compiles, is told apart. The last line is the
figures as JSON.
"""

import gc
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console

from svhn_jax.errors import InputError, run_command
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.versions import versions
from svhn_jax.training.state import TrainState

ARRAYS = 24


@dataclass(frozen=True)
class Options:
    """Times saves of a large state, and counts the bytes that restoring reads."""

    megabytes: int = 100
    """of the state: params, two moments and a running average, a quarter each"""
    saves: int = 10
    """after the first"""

    def __post_init__(self) -> None:
        if self.megabytes < 1 or self.saves < 1:
            raise InputError("--megabytes and --saves must be at least 1")


def main() -> int:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, description=__doc__)
    make_state = jax.jit(lambda step: _state(step, options.megabytes * 1_000_000 // 16 // ARRAYS))
    state = make_state(0)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    blocked, whole = [], []
    with tempfile.TemporaryDirectory() as work:
        with Checkpoints(f"{work}/steps", keep_newest=2, is_writer=True) as checkpoints:
            for step in range(1, options.saves + 2):
                state = jax.block_until_ready(make_state(step))
                start = time.perf_counter()
                checkpoints.save(step, state.tree(), None)
                blocked.append(time.perf_counter() - start)
                checkpoints.wait()
                whole.append(time.perf_counter() - start)
        abstract = jax.eval_shape(make_state, 0)
        with Checkpoints(f"{work}/steps") as checkpoints:
            for_eval = _bytes_read(
                lambda: checkpoints.restore(
                    options.saves + 1, {"ema": abstract.ema}, is_partial=True
                )
            )
            for_all = _bytes_read(lambda: checkpoints.restore(options.saves + 1, abstract.tree()))
    shares = [part / all_of_it for part, all_of_it in zip(blocked[1:], whole[1:], strict=True)]
    figures = {
        "state_mb": round(size / 1e6, 1),
        "saves": options.saves,
        "blocked_ms_median": round(statistics.median(blocked[1:]) * 1e3, 1),
        "blocked_ms_most": round(max(blocked[1:]) * 1e3, 1),
        "save_ms_median": round(statistics.median(whole[1:]) * 1e3, 1),
        "blocked_share_median": round(statistics.median(shares), 4),
        "blocked_share_most": round(max(shares), 4),
        "first_save_blocked_ms": round(blocked[0] * 1e3, 1),
        "eval_restore_read_mb": round(for_eval / 1e6, 1),
        "whole_restore_read_mb": round(for_all / 1e6, 1),
        "device": jax.devices()[0].device_kind,
        "machine": platform.platform(),
        "versions": versions(),
    }
    console.print(
        f"a state of {figures['state_mb']} MB: the loop waited {figures['blocked_ms_median']} ms (most "
        f"{figures['blocked_ms_most']}) of a save's {figures['save_ms_median']} ms; evaluation's part of it is read as "
        f"{figures['eval_restore_read_mb']} MB, all as {figures['whole_restore_read_mb']} MB"
    )
    print(json.dumps(figures))
    return 0


def _state(step: jax.Array, count: int) -> TrainState:
    """A state of random numbers, which do not compress."""

    def tree(salt: int) -> dict[str, jax.Array]:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(salt), step), ARRAYS)
        return {f"array{i}": jax.random.normal(keys[i], (count,)) for i in range(ARRAYS)}

    return TrainState(
        jnp.int32(step),
        tree(0),
        {},
        {"mu": tree(1), "nu": tree(2)},
        {"params": tree(3), "batch_stats": {}},
    )


def _bytes_read(work: Callable[[], object]) -> int:
    gc.collect()
    before = _read_so_far()
    work()
    return _read_so_far() - before


def _read_so_far() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


if __name__ == "__main__":
    run_command(main)
