import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec
from tiny import mesh_of

from svhn_jax.model import winograd

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


def is_winograd(images, kernel, **options):
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC} | options
    function = lambda images, kernel: winograd.conv_general_dilated(images, kernel, **options)  # noqa: E731
    assert_close([function(images, kernel)], [plain(images, kernel, **options)])
    return "conv_general_dilated" not in str(jax.make_jaxpr(function)(images, kernel))


def test_it_stands_in_for_the_convolution_whatever_is_asked():
    images, kernel, _ = random_arrays(1, 8, 48, 48, 5)
    assert is_winograd(images, kernel)
    assert is_winograd(images, kernel, padding=((2, 2), (2, 2)))
    assert not is_winograd(images, kernel, padding="VALID")
    assert not is_winograd(images, kernel, padding=((2, 2), (1, 3)))
    assert not is_winograd(images, kernel, window_strides=(2, 2))
    assert not is_winograd(images, kernel, rhs_dilation=(2, 2))
    assert not is_winograd(images, kernel, lhs_dilation=(1, 2), padding=((2, 2), (2, 2)))
    assert not is_winograd(images, kernel[:, :, :24], feature_group_count=2)
    assert not is_winograd(images, kernel[:3])
    assert not is_winograd(
        images.transpose(0, 3, 1, 2), kernel, dimension_numbers=("NCHW", "HWIO", "NCHW")
    )
    in_half = lambda x: winograd.conv_general_dilated(  # noqa: E731
        x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), (1, 1), "SAME", dimension_numbers=NHWC
    )
    assert "conv_general_dilated" in str(jax.make_jaxpr(in_half)(images))
