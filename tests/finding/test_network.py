import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax.config import ModelConfig
from svhn_jax.finding.network import PRIOR, FinderNet, cell_centers, normalized

NETWORK = FinderNet(ModelConfig(architecture="finder", width=8, blocks=(1,)))


@pytest.fixture(scope="module")
def variables():
    return NETWORK.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), False)


def test_maps_have_a_cell_for_4x4_pixels_and_begin_without_digits(variables):
    maps = NETWORK.apply(variables, jnp.zeros((2, 32, 48, 3)), False)
    assert [part.shape for part in maps] == [(2, 8, 12), (2, 8, 12, 10), (2, 8, 12, 4)]
    np.testing.assert_allclose(maps.presence, PRIOR, atol=0.1)
    middles = (maps.boxes[..., :2] + maps.boxes[..., 2:]) / 2
    np.testing.assert_allclose(middles[0], cell_centers(8, 12), atol=1.0)


def test_a_shifted_canvas_has_shifted_maps(variables):
    canvas = jax.random.normal(jax.random.key(1), (1, 96, 96, 3))
    maps, moved = (
        NETWORK.apply(variables, x, False) for x in (canvas, jnp.roll(canvas, 8, axis=2))
    )
    inner = slice(8, 14)
    np.testing.assert_allclose(
        maps.presence[:, inner, inner], moved.presence[:, inner, 10:16], rtol=1e-4, atol=1e-5
    )


def test_grey_is_zero():
    pixels = jnp.array([[[[128, 0, 192]]]], jnp.uint8)
    assert np.array(normalized(pixels)).ravel().tolist() == [0, -2, 1]
