"""Checksums of arrays, computed where they lie: a restored checkpoint is compared with what was saved."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def checksums(tree: Any) -> dict[str, list[int]]:
    """Two 32-bit sums for each array of a tree, by its path.

    Each element's bits are multiplied by an odd number of its place and summed modulo 2**32. An odd
    factor has an inverse, so any change of one element changes both sums; other changes escape with
    a chance of about 2**-63.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    sums = np.asarray(_sums([leaf for _, leaf in leaves]))
    return {jax.tree_util.keystr(path): row.tolist() for (path, _), row in zip(leaves, sums, strict=True)}


@jax.jit
def _sums(leaves: list[jax.Array]) -> jax.Array:
    """uint32[leaves, 2]."""
    return jnp.stack([_sum(leaf) for leaf in leaves])


def _sum(array: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(array, _UNSIGNED[array.dtype.itemsize]).astype(jnp.uint32).ravel()
    place = jnp.arange(bits.size, dtype=jnp.uint32)
    mixed = (place ^ (place >> 15)) * jnp.uint32(0x2C1B3C6D)
    mixed = (mixed ^ (mixed >> 12)) * jnp.uint32(0x297A2D39)
    return jnp.stack(
        [
            jnp.sum(bits * (factor | jnp.uint32(1)), dtype=jnp.uint32)
            for factor in (place * jnp.uint32(0x9E3779B1), mixed)
        ]
    )
