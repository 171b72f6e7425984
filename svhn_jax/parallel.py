"""Devices: a one-dimensional mesh named "data", and how arrays lie on it."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from svhn_jax.errors import InputError
from svhn_jax.model import AXIS


def make_mesh() -> Mesh:
    """All devices in one row."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """The first axis split evenly over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def put(values: Any, sharding: NamedSharding) -> Any:
    """Host arrays onto the devices as `sharding` says."""
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: np.asarray(x[index])), values
    )


def check_batch_size(name: str, batch_size: int, mesh: Mesh) -> None:
    """Raises InputError where a batch does not split evenly over the devices."""
    if batch_size % mesh.size:
        near = max(mesh.size, batch_size // mesh.size * mesh.size)
        raise InputError(f"{name} is {batch_size}; it must be a multiple of the {mesh.size} devices, such as {near}")
