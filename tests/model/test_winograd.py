import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec
from tiny import mesh_of

from svhn_jax.config import ModelConfig
from svhn_jax.model import layers, winograd

NHWC = ("NHWC", "HWIO", "NHWC")


def plain(images, kernel, **options):
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC} | options
    return lax.conv_general_dilated(images, kernel, **options)


def random_arrays(batch, side, inputs, outputs, r):
    keys = jax.random.split(jax.random.key(side + r), 3)
    images = jax.random.normal(keys[0], (batch, side, side + 1, inputs))
    kernel = jax.random.normal(keys[1], (r, r, inputs, outputs)) / (r * inputs**0.5)
    return images, kernel, jax.random.normal(keys[2], (batch, side, side + 1, outputs))


def forward_and_grads(function, images, kernel, grads):
    result, pull_back = jax.vjp(function, images, kernel)
    return result, *pull_back(grads)


def assert_close(got, expected):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=5e-5 * float(jnp.abs(other).max()))


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (3, 5), (4, 5)])
@pytest.mark.parametrize("side", [6, 9, 12])  # a part of a tile, and whole ones
def test_winograd_is_the_convolution_forwards_and_backwards(m, r, side):
    arrays = random_arrays(4, side, 5, 7, r)
    convolve = functools.partial(winograd.winograd, m=m)
    assert_close(forward_and_grads(convolve, *arrays), forward_and_grads(plain, *arrays))


def test_chunks_of_a_batch_add_up(monkeypatch):
    arrays = random_arrays(7, 7, 5, 7, 5)
    convolve = lambda images, kernel: winograd.winograd(images, kernel, 4)  # noqa: E731
    whole = forward_and_grads(convolve, *arrays)
    monkeypatch.setattr(winograd, "CACHED_BYTES", 260_000)  # 4 images, then 3 and one of zeros
    assert "scan[" in str(jax.make_jaxpr(convolve)(*arrays[:2]))
    assert_close(forward_and_grads(convolve, *arrays), whole)


def test_on_four_devices_the_kernels_gradient_is_that_of_the_whole_batch():
    images, kernel, _ = random_arrays(8, 6, 5, 7, 5)

    def loss(kernel, images):
        total = (winograd.winograd(images, kernel, 3) ** 2).sum()
        return lax.psum(total, "data")

    spec = PartitionSpec("data")
    mapped = jax.shard_map(
        jax.grad(loss), mesh=mesh_of(4), in_specs=(PartitionSpec(), spec), out_specs=PartitionSpec()
    )
    expected = jax.grad(lambda kernel: (plain(images, kernel) ** 2).sum())(kernel)
    assert_close([jax.jit(mapped)(kernel, images)], [expected])


def test_the_tile_with_least_work_is_chosen_and_none_where_it_does_not_pay():
    assert winograd.output_tile((1, 16, 16, 160), (5, 5, 160, 192)) == 4  # 16 tiles and no waste
    assert (
        winograd.output_tile((1, 9, 9, 192), (5, 5, 192, 192)) == 3
    )  # 9 = 3 x 3; 4 would waste 3 pixels a side
    assert winograd.output_tile((1, 27, 27, 128), (3, 3, 128, 128)) == 2
    assert winograd.output_tile((1, 54, 54, 3), (5, 5, 3, 48)) is None
    assert winograd.output_tile((1, 14, 14, 48), (3, 3, 48, 48)) is None
    assert winograd.output_tile((1, 4, 4, 192), (5, 5, 192, 192)) is None
    assert winograd.output_tile((1, 16, 16, 192), (1, 1, 192, 192)) is None


@pytest.mark.parametrize(
    ("strides", "dtype", "is_winograd"),
    [(1, "float32", True), (2, "float32", False), (1, "bfloat16", False)],
)
def test_a_layer_uses_it_where_it_is_faster(strides, dtype, is_winograd):
    config = ModelConfig(convolution="winograd", compute_dtype=dtype)
    layer = layers.conv(config, 48, 5, "conv", strides=strides)
    images = random_arrays(1, 8, 48, 48, 5)[0]
    variables = layer.init(jax.random.key(0), images)
    program = str(jax.make_jaxpr(layer.apply)(variables, images))
    assert ("conv_general_dilated" not in program) == is_winograd
