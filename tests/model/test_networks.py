import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny import float32_products

from svhn_jax.config import ModelConfig
from svhn_jax.errors import InputError
from svhn_jax.model import layers, networks

IMAGES = jnp.linspace(-1, 1, 2 * 20 * 20 * 3).reshape(2, 20, 20, 3)


@pytest.mark.parametrize("architecture", ["resnet", "seed", "potterhsu"])
@pytest.mark.parametrize(("max_digits", "dtype"), [(1, "bfloat16"), (8, "float32")])
def test_a_head_for_each_digit_and_a_length_class_for_each_count_in_float32(
    architecture, max_digits, dtype
):
    network = networks.build(
        ModelConfig(architecture=architecture, width=8, max_digits=max_digits, compute_dtype=dtype)
    )
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGES, False))
    logits = jax.eval_shape(lambda variables: network.apply(variables, IMAGES, False), variables)
    assert (logits.length.shape, logits.digits.shape) == ((2, max_digits + 2), (2, max_digits, 11))
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, logits))} == {jnp.dtype("float32")}
    heads = {name for name in variables["params"] if name == "length" or name.startswith("digit")}
    assert heads == {*networks.head_names(max_digits)}


@pytest.mark.parametrize("architecture", ["resnet", "seed", "potterhsu"])
def test_what_is_float32_at_any_compute_dtype_has_the_precision_of_float32_on_accelerators(
    architecture,
):
    network = networks.build(
        ModelConfig(architecture=architecture, width=8, compute_dtype="bfloat16", convolution="xla")
    )
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGES, False))

    def loss(params, batch_stats):
        logits = network.apply({"params": params, "batch_stats": batch_stats}, IMAGES, False)
        return logits.length.sum() + logits.digits.sum()

    products = float32_products(jax.grad(loss), variables["params"], variables["batch_stats"])
    assert len(products) >= 6 * 2  # the gradients of each head's kernel and features
    assert [line for line in products if "HIGHEST, HIGHEST" not in line] == []


def test_space_to_depth_puts_each_square_of_pixels_in_one_position():
    images = jnp.arange(16).reshape(1, 4, 4, 1)
    squares = layers.space_to_depth(images, 2)
    assert squares.shape == (1, 2, 2, 4)
    assert squares[0, 0, 1].tolist() == [2, 3, 6, 7]
    assert squares[0, 1, 0].tolist() == [8, 9, 12, 13]


def test_space_to_depth_pads_evenly_to_whole_squares():
    squares = layers.space_to_depth(jnp.ones((1, 6, 6, 1)), 4)
    assert squares.shape == (1, 2, 2, 16)
    assert squares.sum() == 36
    assert squares[0, 0, 0].tolist() == squares[0, 1, 1, ::-1].tolist()


def test_attention_pool_takes_the_position_its_table_points_at():
    x = jax.random.normal(jax.random.key(1), (1, 2, 2, 3))
    table = jnp.full((4, 2), -1e9).at[3, 0].set(0.0).at[1, 1].set(0.0)
    params = {"position": table, "query": {"kernel": jnp.zeros((3, 2))}}
    pooled = networks.AttentionPool(2).apply({"params": params}, x)
    np.testing.assert_allclose(pooled[0], [x[0, 1, 1], x[0, 0, 1]], rtol=1e-6)


def test_potterhsus_network_has_its_published_size():
    network = networks.build(ModelConfig(architecture="potterhsu"))
    images = jnp.zeros((1, 54, 54, 3))
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), images, False))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 42_868_734


@pytest.mark.parametrize(
    ("side", "stride", "padding"), [(8, 2, (0, 0)), (7, 2, (0, 1)), (8, 2, (1, 1)), (7, 1, (1, 1))]
)
def test_max_pool_is_flax_max_pool_with_its_gradient(side, stride, padding):
    x = jax.random.normal(jax.random.key(1), (2, side, side, 3))
    ours = lambda x: layers.max_pool(nn.relu(x), stride, padding)  # noqa: E731
    flax = lambda x: nn.max_pool(nn.relu(x), (2, 2), (stride, stride), (padding, padding))  # noqa: E731
    np.testing.assert_array_equal(ours(x), flax(x))
    weights = jax.random.normal(jax.random.key(2), ours(x).shape)
    grads = [jax.grad(lambda x, f=f: (f(x) * weights).sum())(x) for f in (ours, flax)]
    np.testing.assert_allclose(*grads, rtol=1e-6)


def test_dropout_of_an_image_depends_on_its_own_key_alone():
    keys = jax.random.split(jax.random.key(3), 4)
    x = jnp.ones((4, 5, 5, 2))
    whole = layers.dropout(x, 0.5, keys)
    np.testing.assert_array_equal(whole[2:], layers.dropout(x[2:], 0.5, keys[2:]))
    assert set(np.unique(whole)) == {0.0, 2.0}
    np.testing.assert_array_equal(layers.dropout(x, 0.5, None), x)


@pytest.mark.parametrize("rate", [0.1, 0.9999, 0.999999])
def test_dropout_keeps_the_mean_at_any_rate(rate):
    """The share that is kept is a whole number of 2**-16; the scale is its inverse."""
    dropped = layers.dropout(
        jnp.ones((1, 1000, 1000)), rate, jax.random.split(jax.random.key(0), 1)
    )
    kept = max(1, 2**16 - round(rate * 2**16)) / 2**16
    assert float(dropped.max()) == pytest.approx(1 / kept, rel=1e-6)
    assert float(dropped.mean()) == pytest.approx(1, abs=5 * ((1 - kept) / kept / 1e6) ** 0.5)


def test_the_finder_is_no_reader():
    with pytest.raises(InputError, match=r"finder.* train_finder"):
        networks.build(ModelConfig(architecture="finder"))
