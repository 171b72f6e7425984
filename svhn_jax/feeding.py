"""What each step trains on, brought to the devices: the whole set once, or batch after batch.

Resident, the set lies on every device, and the host sends no more than the order, many steps at a
time. Streamed, threads read the images of coming steps from the memory-mapped arrays while the
devices work. Both give every step the same images in the same places.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from svhn_jax import parallel
from svhn_jax.config import MOST_STEPS_PER_DISPATCH, Config
from svhn_jax.errors import InputError
from svhn_jax.steps import Plan
from svhn_jax.training_data import DataOrder, TrainingSet

PLANNED_STEPS = MOST_STEPS_PER_DISPATCH  # of the order, sent at a time
THREADS = 2
AHEAD = 4  # dispatches whose images are read beforehand
RESIDENT_SHARE = 0.5  # of a device's free memory; the rest is for the state and the step


class Work(NamedTuple):
    """The arguments of one dispatch (see svhn_jax.steps.make_train_step), and its number of steps on the host as well."""

    images: jax.Array
    labels: jax.Array
    plan: Plan
    device_count: jax.Array
    steps: int


def groups(
    first_step: int, total_steps: int, steps_per_dispatch: int, stops: Iterable[int]
) -> Iterator[tuple[int, int]]:
    """(number of the first step, count) of each dispatch; none goes past a multiple of one of `stops`."""
    step = first_step
    while step < total_steps:
        until = min(total_steps, step + steps_per_dispatch, *((step // every + 1) * every for every in stops))
        yield step, until - step
        step = until


class Placement(NamedTuple):
    """Whether the set is resident, and a word on why."""

    is_resident: bool
    reason: str


def choose_placement(data: TrainingSet, wanted: str, mesh: Mesh) -> Placement:
    """Where the set is to lie; `wanted` is config.data.placement. The same on every process, which must all ask."""
    size = f"{data.nbytes / 1e9:,.2f} GB"
    if wanted != "auto":
        return Placement(wanted == "resident", f"{wanted}, as asked for: {size}")
    free = min(_free_bytes(device) for device in mesh.local_devices)
    if parallel.is_so_everywhere(data.nbytes <= RESIDENT_SHARE * free):
        return Placement(True, f"resident: {size} on each device, which has {free / 1e9:,.1f} GB free")
    reason = f"streamed from disk: {size} are more than half of what a device has free ({free / 1e9:,.1f} GB here)"
    return Placement(False, reason)


class Feed:
    """Brings the images of the steps of a run to the devices."""

    def __init__(self, config: Config, data: TrainingSet, mesh: Mesh, *, is_resident: bool):
        """Where the set is resident, it is sent to the devices now.

        Raises:
          InputError: it does not fit there.
        """
        self._data, self._mesh = data, mesh
        self._order = DataOrder(data.epoch, config.batch_size, config.seed)
        self._steps_per_dispatch = config.steps_per_dispatch
        self._everywhere, self._in_parts = parallel.replicated(mesh), parallel.sharded_batches(mesh)
        self._placed: tuple[jax.Array, jax.Array] | None = None
        if is_resident:
            try:
                self._placed = jax.block_until_ready(parallel.put((data.images(), data.labels), self._everywhere))
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                size = f"{data.nbytes / 1e9:,.2f} GB"
                raise InputError(f"the {size} of training images do not fit; --data.placement streamed") from None

    def work(self, first_step: int, last_step: int, stops: Iterable[int] = ()) -> Generator[Work]:
        """What the dispatches from `first_step` completed updates to `last_step` train on; see `groups`. To be closed."""
        dispatches = groups(first_step, last_step, self._steps_per_dispatch, stops)
        return self._resident(self._placed, dispatches) if self._placed else self._streamed(dispatches)

    def same_work(self) -> Work:
        """The first steps' images, for any step: where the set is resident, the plan begins again and again."""
        return next(self.work(0, self._steps_per_dispatch))

    def _resident(self, placed: tuple[jax.Array, jax.Array], dispatches: Iterable[tuple[int, int]]) -> Generator[Work]:
        counts: dict[int, jax.Array] = {}
        first, plan = 0, None
        for step, count in dispatches:
            if plan is None or step + count > first + PLANNED_STEPS:
                first = step
                rows = np.stack([self._order.rows(one) for one in range(first, first + PLANNED_STEPS)])
                plan = Plan(parallel.put(np.int32(first), self._everywhere), parallel.put(rows, self._in_parts))
            if count not in counts:
                counts[count] = parallel.put(np.int32(count), self._everywhere)
            yield Work(*placed, plan, counts[count], count)

    def _streamed(self, dispatches: Iterable[tuple[int, int]]) -> Generator[Work]:
        """Threads read the images of the next dispatches, and send them, while the devices work on this one."""
        with ThreadPoolExecutor(THREADS, "reading images") as pool:
            coming: deque[Future[Work]] = deque()
            try:
                for step, count in dispatches:
                    coming.append(pool.submit(self._read, step, count))
                    if len(coming) > AHEAD:
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            finally:
                for one in coming:
                    one.cancel()

    def _read(self, step: int, count: int) -> Work:
        data = self._data
        rows = np.stack([self._order.rows(step + min(n, count - 1)) for n in range(self._steps_per_dispatch)])
        images = parallel.put_parts(
            (*rows.shape, data.parts[0].shape[1]), self._in_parts, lambda part: data.take(rows[part[:2]])
        )
        labels = parallel.put_parts((*rows.shape, 6), self._in_parts, lambda part: data.labels[rows[part[:2]]])
        own = np.arange(rows.size // self._mesh.size, dtype=np.int32).reshape(self._steps_per_dispatch, -1)
        plan_rows = parallel.put(np.tile(own, self._mesh.size), self._in_parts)
        first, device_count = parallel.put((np.int32(step), np.int32(count)), self._everywhere)
        return Work(images, labels, Plan(first, plan_rows), device_count, count)


def _free_bytes(device: jax.Device) -> int:
    """Memory that is free on a device: its own, or its share of what this machine has available."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    import psutil  # wanted on CPUs alone

    return int(psutil.virtual_memory().available // jax.local_device_count())
