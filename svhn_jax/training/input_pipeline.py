"""Brings each step's batch to the devices, from a set that is resident there or streamed from disk.

Resident: every device holds the whole set, and a small compiled program gathers a batch from the
row numbers. Streamed: a batch is read from the memory-mapped arrays. Threads prepare the next
batches. Both give the train step equal arrays, so one compiled step serves both.
"""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.errors import InputError, is_out_of_memory
from svhn_jax.model.settings import own_settings
from svhn_jax.training import devices, processes
from svhn_jax.training.dataset import DataOrder, TrainingSet

READERS = 2
READ_AHEAD_STEPS, READ_AHEAD_BYTES = 4, 2**28  # the smaller of the two; always at least one step
RESIDENT_FRACTION = 0.5  # of a device's free memory; the rest is for the state and the step

# One global batch on the devices: uint8[B, S * S * 3] and [B, ...], split over the mesh.
Batch = tuple[jax.Array, jax.Array]


def choose_placement(data: TrainingSet, placement: str, mesh: Mesh) -> tuple[bool, str]:
    """Whether the set is resident on the devices, and why. Equal on all processes; all must call.

    placement: config.data.placement. "auto" streams on CPUs, whose memory the files' cache shares.
    """
    size = f"{data.nbytes / 1e9:,.2f} GB"
    if placement != "auto":
        return placement == "resident", f"{placement}, as configured: {size}"
    stats = [device.memory_stats() or {} for device in mesh.local_devices]
    free = min(each.get("bytes_limit", 0) - each.get("bytes_in_use", 0) for each in stats)
    is_resident = processes.gather(np.array(data.nbytes <= RESIDENT_FRACTION * free)).all()
    if is_resident:
        return True, f"resident: {size} on each device, which has {free / 1e9:,.1f} GB free"
    return False, f"streamed from disk: {size}"


class InputPipeline:
    """The batches of a run, in order, on the devices."""

    def __init__(self, config: Config, data: TrainingSet, mesh: Mesh, *, is_resident: bool):
        """Copies the whole set to the devices if it is resident.

        Raises:
          InputError: the set does not fit in device memory.
        """
        self._data, self._split = data, devices.sharded(mesh)
        self._batch_bytes = config.batch_size * data.parts[0].shape[1]
        self._order = DataOrder(data.epoch, config.batch_size, config.seed)
        self._set: tuple[jax.Array, jax.Array] | None = None
        if not is_resident:
            return
        whole, part = devices.replicated(mesh), self._split.spec
        self._gather = jax.jit(
            jax.shard_map(  # each device gathers its own part
                lambda images, labels, rows: (images[rows], labels[rows]),
                mesh=mesh,
                in_specs=(whole.spec, whole.spec, part),
                out_specs=(part, part),
            )
        )
        try:
            self._set = jax.block_until_ready(devices.put((data.images(), data.labels), whole))
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"the {data.nbytes / 1e9:,.2f} GB of training images do not fit; "
                "give --data.placement streamed"
            ) from None

    def batches(self, first_step: int, last_step: int) -> Generator[Batch]:
        """The batch of each step after `first_step` to `last_step`. Closing it ends its threads."""
        ahead = max(1, min(READ_AHEAD_STEPS, READ_AHEAD_BYTES // self._batch_bytes))
        with ThreadPoolExecutor(min(READERS, ahead), "reading images") as pool:
            coming: deque[Future[Batch]] = deque()
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

    @own_settings()
    def _read(self, step: int) -> Batch:
        data, rows = self._data, self._order.rows(step)
        if self._set:
            return self._gather(*self._set, devices.put(rows, self._split))
        shape = len(rows), data.parts[0].shape[1]
        images = devices.put_parts(shape, self._split, lambda part: data.take(rows[part[0]]))
        return images, devices.put(data.labels[rows], self._split)
