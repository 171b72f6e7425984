import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from tiny import mesh_of

from svhn_jax.runs.checksums import array_sums, by_path, checksums, sealed, unsealed


def test_any_single_bit_changes_both_sums():
    values = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    before = checksums({"a": jnp.asarray(values)})["['a']"]
    for element in range(values.size):
        for bit in range(32):
            bits = values.view(np.uint32).copy()
            bits.ravel()[element] ^= np.uint32(1 << bit)
            after = checksums({"a": jnp.asarray(bits.view(np.float32))})["['a']"]
            assert after[0] != before[0]
            assert after[1] != before[1]


def test_signs_that_flip_together_are_noticed():
    values = jnp.asarray(np.random.default_rng(0).normal(size=64).astype(np.float32))
    before = checksums({"a": values})["['a']"]
    for changed in (-values, values.at[:2].multiply(-1), jnp.roll(values, 1), values[::-1]):
        after = checksums({"a": changed})["['a']"]
        assert after[0] != before[0]
        assert after[1] != before[1]


def test_values_that_change_places_and_arrays_that_change_names_are_noticed():
    a, b = jnp.arange(6.0), jnp.arange(6.0)[::-1]
    sums = checksums({"a": a, "b": b})
    assert sums["['a']"] != sums["['b']"]
    assert checksums({"a": a.at[0].set(1.0).at[1].set(0.0)})["['a']"] != sums["['a']"]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32, jnp.uint8])
def test_every_type_of_a_state_has_one(dtype):
    one, other = (checksums({"x": jnp.full((3,), value, dtype)})["['x']"] for value in (1, 2))
    assert one != other
    assert len(one) == 2


def test_they_do_not_depend_on_the_devices():
    values = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    plain = checksums({"x": jnp.asarray(values), "step": jnp.int32(5)})
    split = jax.device_put(values, NamedSharding(mesh_of(8), PartitionSpec("data")))
    assert checksums({"x": split, "step": jnp.int32(5)}) == plain


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32, jnp.uint8])
def test_host_and_device_compute_the_same(dtype):
    values = np.random.default_rng(0).integers(0, 256, 2**15 + 3)  # more than the host sums at once
    tree = {
        name: jnp.asarray(values[:count], dtype)
        for name, count in (("none", 0), ("one", 1), ("all", len(values)))
    }
    tree["table"], tree["scalar"] = tree["all"][:6].reshape(2, 3), jnp.asarray(7, dtype)
    assert checksums(tree) == by_path(tree, array_sums(tree))


def test_values_that_were_changed_do_not_pass_their_seal():
    values = {"loss": 1.5, "nan": float("nan"), "folders": ["a", "b"]}
    assert str(unsealed(json.loads(json.dumps(sealed(values, "a"))), "a")) == str(values)
    for changed in (
        sealed(values, "a") | {"loss": 1.25},
        sealed(values, "a") | {"more": 1},
        sealed(values, "b"),
        values,
        [],
    ):
        with pytest.raises(ValueError, match="checksum"):
            unsealed(changed, "a")
