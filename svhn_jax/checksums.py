"""Checksums of arrays, computed where they lie: a restored checkpoint is compared with what was saved."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


@jax.jit
def array_sums(tree: Any) -> jax.Array:
    """uint32[N, 2]: two sums for each of a tree's N arrays.

    Each element's bits are mixed with its place by a one-to-one function of 32 bits (the finalizer of
    MurmurHash3), and the results summed modulo 2**32. So a change of one element always changes
    both sums; other changes escape about once in 2**64.
    """
    return jnp.stack([_sum(leaf) for leaf in jax.tree.leaves(tree)])


def by_path(tree: Any, sums: jax.Array) -> dict[str, list[int]]:
    """The sums of each array of the tree under its path, such as ['params']['stem']['kernel']."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    return {jax.tree_util.keystr(path): row.tolist() for path, row in zip(paths, np.asarray(sums), strict=True)}


def checksums(tree: Any) -> dict[str, list[int]]:
    """The sums of each array of a tree, by its path."""
    return by_path(tree, array_sums(tree))


def _sum(array: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(array, _UNSIGNED[array.dtype.itemsize]).astype(jnp.uint32).ravel()
    place = jnp.arange(bits.size, dtype=jnp.uint32)
    salts = (jnp.uint32(0x9E3779B9), jnp.uint32(0x7F4A7C15))
    return jnp.stack([jnp.sum(_mix(bits ^ _mix(place + salt)), dtype=jnp.uint32) for salt in salts])


def _mix(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
