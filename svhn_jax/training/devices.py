"""The mesh: all devices in one axis named "data", and how arrays are placed on it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from svhn_jax.errors import InputError
from svhn_jax.model.layers import AXIS


def make_mesh() -> Mesh:
    """All devices, of every process, in one row."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """The first axis split evenly over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def put(values: Any, sharding: NamedSharding) -> Any:
    """Copies host arrays to the devices, placed by `sharding`."""
    return jax.tree.map(
        lambda x: put_parts(x.shape, sharding, lambda index: np.asarray(x[index])), values
    )


def put_parts(
    shape: tuple[int, ...], sharding: NamedSharding, read: Callable[[Any], np.ndarray]
) -> jax.Array:
    """A device array; each process calls `read(index)` only for the parts of its own devices."""
    with jax.transfer_guard("allow"):  # intended, though JAX counts it as implicit
        return jax.make_array_from_callback(shape, sharding, read)


def check_batch_size(name: str, batch_size: int, mesh: Mesh) -> None:
    """Raises InputError if a batch does not split evenly over the devices."""
    if batch_size % mesh.size:
        near = max(mesh.size, batch_size // mesh.size * mesh.size)
        raise InputError(
            f"{name} is {batch_size}; it must be a multiple of {mesh.size} devices, as {near} is"
        )
