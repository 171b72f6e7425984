"""Brings each step's batch to the devices, from a set that is resident there or streamed from disk.

Resident: every device holds the whole set; the host sends row numbers for many steps at once, and a
small compiled program gathers each batch. Streamed: threads read the batches of the next steps from
the memory-mapped arrays. Both give the train step equal arrays, so one compiled step serves both.
"""

import math
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.errors import InputError, is_out_of_memory
from svhn_jax.training import devices, processes
from svhn_jax.training.dataset import DataOrder, TrainingSet

ROWS_SENT_STEPS = 256  # steps whose row numbers are sent at once
READERS = 2
READ_AHEAD_STEPS, READ_AHEAD_BYTES = 4, 2**28  # the smaller of the two; always at least one step
RESIDENT_FRACTION = 0.5  # of a device's free memory; the rest is for the state and the step
CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class StepInputs(NamedTuple):
    """One global batch on the devices: uint8[B, S * S * 3] and [B, ...], split over the mesh."""

    images: jax.Array
    labels: jax.Array


class Placement(NamedTuple):
    """Whether the set is resident on the devices, and why."""

    is_resident: bool
    reason: str


def choose_placement(data: TrainingSet, wanted: str, mesh: Mesh) -> Placement:
    """Where the set is kept. Every process must call it; all get the same answer.

    wanted: config.data.placement.
    """
    size = f"{data.nbytes / 1e9:,.2f} GB"
    if wanted != "auto":
        return Placement(wanted == "resident", f"{wanted}, as configured: {size}")
    free = min(_free_bytes(device) for device in mesh.local_devices)
    if processes.gather(np.array(data.nbytes <= RESIDENT_FRACTION * free)).all():
        reason = f"resident: {size} on each device, which has {free / 1e9:,.1f} GB free"
        return Placement(True, reason)
    return Placement(
        False,
        f"streamed from disk: {size} is more than half of a device's free memory "
        f"({free / 1e9:,.1f} GB here)",
    )


class InputPipeline:
    """The batches of a run, in order, on the devices."""

    def __init__(self, config: Config, data: TrainingSet, mesh: Mesh, *, is_resident: bool):
        """Copies the whole set to the devices if it is resident.

        Raises:
          InputError: the set does not fit in device memory.
        """
        self._data, self._mesh, self._batch_size = data, mesh, config.batch_size
        self._order = DataOrder(data.epoch, config.batch_size, config.seed)
        self._set: tuple[jax.Array, jax.Array] | None = None
        if is_resident:
            try:
                self._set = jax.block_until_ready(
                    devices.put((data.images(), data.labels), devices.replicated(mesh))
                )
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise InputError(
                    f"the {data.nbytes / 1e9:,.2f} GB of training images do not fit; "
                    "give --data.placement streamed"
                ) from None

    def batches(self, first_step: int, last_step: int) -> Generator[StepInputs]:
        """The batch of each step after `first_step` to `last_step`. Closing it ends its threads."""
        batches = self._gathered if self._set else self._streamed
        return batches(first_step, last_step)

    def _gathered(self, first_step: int, last_step: int) -> Generator[StepInputs]:
        assert self._set
        everywhere, by_batch = devices.replicated(self._mesh), devices.sharded_batches(self._mesh)
        split = devices.sharded(self._mesh).spec
        gather = jax.jit(
            jax.shard_map(  # each device gathers its own part
                lambda images, labels, rows, n: (images[rows[n]], labels[rows[n]]),
                mesh=self._mesh,
                in_specs=(everywhere.spec, everywhere.spec, by_batch.spec, everywhere.spec),
                out_specs=(split, split),
            )
        )
        places = [
            devices.put(np.int32(n), everywhere)
            for n in range(min(ROWS_SENT_STEPS, last_step - first_step))
        ]
        for start in range(first_step, last_step, ROWS_SENT_STEPS):
            end = min(start + ROWS_SENT_STEPS, last_step)
            rows = np.zeros(
                (ROWS_SENT_STEPS, self._batch_size), np.int32
            )  # one shape: compiles once
            rows[: end - start] = [self._order.rows(step) for step in range(start, end)]
            on_devices = devices.put(rows, by_batch)
            for n in range(end - start):
                yield StepInputs(*gather(*self._set, on_devices, places[n]))

    def _streamed(self, first_step: int, last_step: int) -> Generator[StepInputs]:
        batch_bytes = self._batch_size * self._data.parts[0].shape[1]
        ahead = max(1, min(READ_AHEAD_STEPS, READ_AHEAD_BYTES // batch_bytes))
        with ThreadPoolExecutor(min(READERS, ahead), "reading images") as pool:
            coming: deque[Future[StepInputs]] = deque()
            try:
                for step in range(first_step, last_step):
                    if len(coming) == ahead:
                        yield coming.popleft().result()
                    coming.append(pool.submit(self._read, step))
                while coming:
                    yield coming.popleft().result()
            finally:
                for one in coming:
                    one.cancel()

    def _read(self, step: int) -> StepInputs:
        data, rows, split = self._data, self._order.rows(step), devices.sharded(self._mesh)
        pixels, labels = data.parts[0].shape[1], data.labels
        return StepInputs(
            devices.put_parts((len(rows), pixels), split, lambda part: data.take(rows[part[0]])),
            devices.put_parts(
                (len(rows), *labels.shape[1:]), split, lambda part: labels[rows[part[0]]]
            ),
        )


def _free_bytes(device: jax.Device) -> int:
    """Free memory of a device; of a CPU, its share of what the machine or container has left."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    import psutil  # needed on CPUs only

    available = min(psutil.virtual_memory().available, _container_free_bytes())
    return int(available // jax.local_device_count())


def _container_free_bytes() -> float:
    """Bytes left under the memory limits of this process's control groups (v2); or infinity.

    The inactive part of the page cache counts as free, as in `docker stats`.
    """
    free = math.inf
    with suppress(OSError):  # not Linux
        group = CGROUPS / OWN_CGROUP.read_text().rpartition(":")[2].strip().lstrip("/")
        for folder in (group, *group.parents):  # a limit of any group above holds too
            with suppress(OSError, ValueError, KeyError):  # no limit there, or "max"
                lines = (folder / "memory.stat").read_text().splitlines()
                stat = dict(line.split() for line in lines)
                used = int((folder / "memory.current").read_text()) - int(stat["inactive_file"])
                free = min(free, int((folder / "memory.max").read_text()) - used)
    return max(0, free)
