import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax import augment
from svhn_jax.config import AugmentConfig, ImageConfig

STILL = AugmentConfig(random_crop=False, brightness=0, contrast=0, saturation=0)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
KEYS = jax.random.split(jax.random.key(0), 4)
ALL = AugmentConfig(hue=0.1, scale=0.1, rotate_degrees=10, shear=0.1)


def test_center_window_is_the_middle_with_zero_mean():
    window = np.asarray(augment.center_window(IMAGES, ImageConfig(crop=20, normalize="mean")))
    expected = IMAGES[:, 2:22, 2:22].astype(np.float64) / 255
    np.testing.assert_allclose(window, expected - expected.mean(axis=(1, 2, 3), keepdims=True), atol=1e-6)


def test_contrast_is_divided_out_but_never_noise_alone():
    flat = np.full((1, 24, 24, 3), 100, np.uint8)
    window = augment.center_window(np.concatenate([IMAGES[:1], flat]), ImageConfig(crop=20))
    assert float(window[0].std()) == pytest.approx(1, abs=0.08)
    np.testing.assert_allclose(window[1], 0, atol=1e-4)


@pytest.mark.parametrize("warp", [{}, {"scale": 1e-9}])
def test_training_without_any_change_sees_what_evaluation_sees(warp):
    image = ImageConfig(crop=20)
    window = augment.random_window(IMAGES, KEYS, image, dataclasses.replace(STILL, **warp))
    np.testing.assert_allclose(window, augment.center_window(IMAGES, image), atol=1e-4)


def test_random_crop_reaches_every_place_and_no_other():
    places = np.broadcast_to(np.arange(24 * 24).reshape(24, 24, 1), (300, 24, 24, 1))
    draws = jax.random.uniform(jax.random.key(1), (300, 10), minval=-1.0)
    windows = jax.vmap(lambda x, u: augment._slice(x, u, 22, AugmentConfig()))(places, draws)
    assert windows.shape == (300, 22, 22, 1)
    assert set(windows[:, 0, 0, 0].tolist()) == {row * 24 + column for row in range(3) for column in range(3)}


def test_what_happens_to_an_image_depends_on_its_own_key_alone():
    image = ImageConfig(crop=20)
    whole = augment.random_window(IMAGES, KEYS, image, ALL)
    alone = augment.random_window(IMAGES[2:3], KEYS[2:3], image, ALL)
    np.testing.assert_allclose(whole[2:3], alone, atol=1e-5)
    assert not np.allclose(whole[2:3], augment.random_window(IMAGES[2:3], KEYS[3:4], image, ALL), atol=0.1)


def test_gray_has_one_channel_with_the_standard_weights_and_resize_the_asked_side():
    red = np.zeros((1, 24, 24, 3), np.uint8)
    red[:, :12, :, 0] = 255
    image = ImageConfig(crop=24, grayscale=True, normalize="mean")
    gray = augment.center_window(red, image)
    assert gray.shape == (1, 24, 24, 1)
    assert float(gray.max() - gray.min()) == pytest.approx(0.299, abs=1e-5)
    assert augment.center_window(red, dataclasses.replace(image, resize=32)).shape == (1, 32, 32, 1)
    assert augment.input_shape(dataclasses.replace(image, resize=32)) == (32, 32, 1)
    assert augment.input_shape(ImageConfig(crop=54)) == (54, 54, 3)


def test_hue_turns_colour_and_leaves_luma():
    config = dataclasses.replace(STILL, hue=0.5)
    image = jnp.full((4, 4, 3), 0.5).at[..., 0].set(0.6)
    turned = augment._recolor(image, jnp.array([0.0, 0.0, 0.0, 1.0]), config)
    assert not np.allclose(turned, image, atol=0.02)
    np.testing.assert_allclose(augment._to_gray(turned), augment._to_gray(image), atol=2e-3)


def test_colour_stays_in_range():
    config = AugmentConfig(brightness=0.9, contrast=0.9, saturation=0.9)
    bright = augment._recolor(jnp.full((4, 4, 3), 0.9), jnp.ones(4), config)
    assert float(bright.max()) == 1.0
