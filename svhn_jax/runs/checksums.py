"""Checksums of what a checkpoint holds: computed on the devices when it is saved, on the host when it is read.

Reading verifies with numpy alone, so that an error of a device cannot be mistaken for a damaged file.
"""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}
_SALTS = (np.uint32(0x9E3779B9), np.uint32(0x7F4A7C15))
_BLOCK = (
    2**15
)  # elements that the host sums at once: intermediate results then stay in the processor's cache
SEAL = "sha256"


@jax.jit
def array_sums(tree: Any) -> jax.Array:
    """uint32[N, 2]: two sums for each of a tree's N arrays, computed where the arrays are.

    Each element's bits are mixed with its place by a one-to-one function of 32 bits (the finalizer of
    MurmurHash3), and the results summed modulo 2**32. So a change of one element always changes
    both sums; other changes escape about once in 2**64.
    """
    return jnp.stack([_device_sums(leaf) for leaf in jax.tree.leaves(tree)])


@jax.jit
def copy_with_sums(tree: Any) -> tuple[Any, jax.Array]:
    """A copy of a tree of arrays, and its `array_sums`."""
    return jax.tree.map(jnp.copy, tree), array_sums(tree)


def by_path(tree: Any, sums: Any) -> dict[str, list[int]]:
    """The sums of each array of the tree under its path, such as ['params']['stem']['kernel']."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    return {
        jax.tree_util.keystr(path): row.tolist()
        for path, row in zip(paths, np.asarray(sums), strict=True)
    }


def checksums(tree: Any) -> dict[str, list[int]]:
    """The same sums by path, computed on the host: no device takes part."""
    return by_path(tree, [_host_sums(np.asarray(leaf)) for leaf in jax.tree.leaves(tree)])


def verify(tree: Any, abstract: Any, saved: dict[str, list[int]]) -> None:
    """Checks restored numpy arrays against shapes and types, and against the sums by path they were saved with.

    Raises:
      ValueError, KeyError: an array is missing or differs.
    """
    for wanted, found in zip(jax.tree.leaves(abstract), jax.tree.leaves(tree), strict=True):
        if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (
            wanted.shape,
            wanted.dtype,
        ):
            raise ValueError("an array is missing, or of another shape")
    for path, sums in checksums(tree).items():
        if saved[path] != sums:
            raise ValueError(f"the checksum of {path} is not the one it was saved with")


def sealed(values: dict[str, Any], of: str) -> dict[str, Any]:
    """Adds a SHA-256 of the values and of their name, such as "metrics of step 5"; `unsealed` verifies and removes it.

    seal = sealed({"loss": 0.5}, "metrics of step 5")
    unsealed(seal, "metrics of step 5")  # {"loss": 0.5}
    """
    return values | {SEAL: _digest(values, of)}


def unsealed(values: Any, of: str) -> dict[str, Any]:
    """The values that were sealed under this name; ValueError if values or name differ."""
    if not isinstance(values, dict) or SEAL not in values:
        raise ValueError("it has no checksum")
    content = {name: value for name, value in values.items() if name != SEAL}
    if values[SEAL] != _digest(content, of):
        raise ValueError("its checksum is not the one it was saved with")
    return content


def _digest(values: dict[str, Any], of: str) -> str:
    return hashlib.sha256(json.dumps([of, values], sort_keys=True).encode()).hexdigest()


def _device_sums(array: jax.Array) -> jax.Array:
    bits = (
        jax.lax.bitcast_convert_type(array, _UNSIGNED[array.dtype.itemsize])
        .astype(jnp.uint32)
        .ravel()
    )
    place = jnp.arange(bits.size, dtype=jnp.uint32)
    return jnp.stack(
        [jnp.sum(_mix(bits ^ _mix(place + salt)), dtype=jnp.uint32) for salt in _SALTS]
    )


def _host_sums(array: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(array).reshape(-1).view(_UNSIGNED[array.dtype.itemsize])
    sums = np.zeros(2, np.uint32)
    for start in range(0, len(bits), _BLOCK):
        block = bits[start : start + _BLOCK].astype(np.uint32)
        place = np.arange(start, start + len(block), dtype=np.uint32)
        sums += [_mix(block ^ _mix(place + salt)).sum(dtype=np.uint32) for salt in _SALTS]
    return sums


def _mix(x: Any) -> Any:
    """The finalizer of MurmurHash3 on uint32, of numpy or of JAX."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))
