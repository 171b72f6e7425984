"""Checksums of arrays, computed where they lie: a restored checkpoint is compared with what was saved."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def checksums(tree: Any) -> dict[str, list[int]]:
    """Two 32-bit sums for each array of a tree, by its path.

    Each element's bits are mixed with its place by a one-to-one function of 32 bits (the finalizer of
    MurmurHash3), and the results summed modulo 2**32. So a change of one element always changes
    both sums; other changes escape about once in 2**64.
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
    salts = (jnp.uint32(0x9E3779B9), jnp.uint32(0x7F4A7C15))
    return jnp.stack([jnp.sum(_mix(bits ^ _mix(place + salt)), dtype=jnp.uint32) for salt in salts])


def _mix(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
