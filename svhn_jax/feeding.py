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
from svhn_jax.steps import Plan
from svhn_jax.training_data import DataOrder, TrainingSet

PLANNED_STEPS = 256  # of the order, sent at a time
THREADS = 2
AHEAD = 4  # dispatches whose images are read beforehand
RESIDENT_SHARE = 0.5  # of a device's free memory; the rest is for the state and the step


class Work(NamedTuple):
    """The arguments of one dispatch (see svhn_jax.steps.make_train_step), and its number of steps, known to the host."""

    images: jax.Array
    labels: jax.Array
    plan: Plan
    length: jax.Array
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


def is_resident(data: TrainingSet, placement: str, mesh: Mesh) -> tuple[bool, str]:
    """Whether the set goes to the devices, and a word on why; the same on every process."""
    size = f"{data.nbytes / 1e9:,.2f} GB"
    if placement != "auto":
        return placement == "resident", f"{placement}, as asked for: {size}"
    free = min(_free_bytes(device) for device in mesh.local_devices)
    if parallel.is_so_everywhere(data.nbytes <= RESIDENT_SHARE * free):
        return True, f"resident: {size} on each device, which has {free / 1e9:,.1f} GB free"
    return False, f"streamed from disk: {size} are more than half of what a device has free ({free / 1e9:,.1f} GB here)"


def on_devices(data: TrainingSet, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    """All images and labels, on every device."""
    return parallel.put((data.images(), data.labels), parallel.replicated(mesh))


def resident(
    placed: tuple[jax.Array, jax.Array], order: DataOrder, dispatches: Iterable[tuple[int, int]], mesh: Mesh
) -> Generator[Work]:
    """The order alone is sent, PLANNED_STEPS at a time; `placed` is what `on_devices` returned."""
    everywhere, in_parts = parallel.replicated(mesh), parallel.sharded_batches(mesh)
    counts: dict[int, jax.Array] = {}
    first, plan = 0, None
    for step, count in dispatches:
        if plan is None or step + count > first + PLANNED_STEPS:
            first = step
            rows = np.stack([order.rows(one) for one in range(first, first + PLANNED_STEPS)])
            plan = Plan(parallel.put(np.int32(first), everywhere), parallel.put(rows, in_parts))
        if count not in counts:
            counts[count] = parallel.put(np.int32(count), everywhere)
        yield Work(*placed, plan, counts[count], count)


def streamed(
    data: TrainingSet, order: DataOrder, dispatches: Iterable[tuple[int, int]], mesh: Mesh, steps_per_dispatch: int
) -> Generator[Work]:
    """Threads read the images of the next dispatches, and send them, while the devices work on this one."""
    everywhere, in_parts = parallel.replicated(mesh), parallel.sharded_batches(mesh)

    def read(step: int, count: int) -> Work:
        rows = np.stack([order.rows(step + min(n, count - 1)) for n in range(steps_per_dispatch)])
        images = parallel.put_parts(
            (*rows.shape, data.parts[0].shape[1]), in_parts, lambda part: data.take(rows[part[:2]])
        )
        labels = parallel.put_parts((*rows.shape, 6), in_parts, lambda part: data.labels[rows[part[:2]]])
        own = np.arange(rows.size // mesh.size, dtype=np.int32).reshape(steps_per_dispatch, -1)
        plan_rows = parallel.put(np.tile(own, mesh.size), in_parts)
        first, length = parallel.put((np.int32(step), np.int32(count)), everywhere)
        return Work(images, labels, Plan(first, plan_rows), length, count)

    with ThreadPoolExecutor(THREADS, "reading images") as pool:
        coming: deque[Future[Work]] = deque()
        try:
            for step, count in dispatches:
                coming.append(pool.submit(read, step, count))
                if len(coming) > AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for one in coming:
                one.cancel()


def _free_bytes(device: jax.Device) -> int:
    """Memory that is free on a device: its own, or its share of the machine's."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    import psutil  # wanted on CPUs alone

    return int(psutil.virtual_memory().available // jax.local_device_count())
