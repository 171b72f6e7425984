from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec
from tiny import mesh_of

from svhn_jax.model.layers import AXIS
from svhn_jax.model.normalization import BatchNorm

SHAPE, CHANNELS = (16, 5, 6, 3), 3


def example():
    """Variables, images and gradients: some channels far from 0, one barely varying."""
    rng = np.random.default_rng(0)
    images = rng.normal((0, 3, -1), (1, 4, 0.1), SHAPE).astype(np.float32)
    params = {"scale": np.float32([1.5, 0.5, -1]), "bias": np.float32([0.1, -2, 0])}
    stats = {"mean": np.float32([1, 2, 3]), "var": np.float32([1, 2, 3])}
    return (
        {"params": params, "batch_stats": stats},
        images,
        rng.normal(size=SHAPE).astype(np.float32),
    )


def outcome(norm, device_count):
    """What a batch norm gives in training, and every gradient."""

    def one_device(variables, images, grads):
        def loss_fn(params, images):
            y, updated = norm.apply(
                {**variables, "params": params}, images, mutable=["batch_stats"]
            )
            return jax.lax.pmean((nn.relu(y) * grads).mean(), AXIS), (y, updated)

        (_, (y, updated)), gradients = jax.value_and_grad(loss_fn, (0, 1), has_aux=True)(
            variables["params"], images
        )
        return y, gradients[1], updated, gradients[0]

    split, whole = PartitionSpec(AXIS), PartitionSpec()
    step = jax.shard_map(
        one_device,
        mesh=mesh_of(device_count),
        in_specs=(whole, split, split),
        out_specs=(split, split, whole, whole),
    )
    return jax.device_get(jax.jit(step)(*example()))


@pytest.mark.parametrize("device_count", [1, 2, 8])
def test_values_statistics_and_gradients_are_those_of_flax(device_count):
    ours = outcome(BatchNorm(False, 0.9, AXIS), device_count)
    flax = outcome(nn.BatchNorm(use_running_average=False, momentum=0.9, axis_name=AXIS), 1)
    close = partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6)
    jax.tree.map(close, ours, flax)


def test_evaluation_and_first_variables_are_those_of_flax():
    variables, images, _ = example()
    ours, flax = BatchNorm(True, 0.9, AXIS), nn.BatchNorm(use_running_average=True)
    expected = flax.apply(variables, images)
    np.testing.assert_allclose(ours.apply(variables, images), expected, rtol=1e-5, atol=1e-5)
    first = [norm.init(jax.random.key(0), jnp.zeros((1, 2, CHANNELS))) for norm in (ours, flax)]
    jax.tree.map(np.testing.assert_array_equal, *first)
