import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import float32_products

from svhn_jax.config import AugmentConfig, ImageConfig
from svhn_jax.model import augment, inputs

STILL = AugmentConfig(random_crop=False, brightness=0, contrast=0, saturation=0)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
WINDOW, CHANGE = (
    jax.jit(augment.random_window, static_argnums=(2, 3)),
    jax.jit(augment._change, static_argnums=3),
)
KEYS = jax.random.split(jax.random.key(0), 4)
OLD = AugmentConfig(hue=0.1, scale=0.1, rotate_degrees=10, shear=0.1)
ALL = dataclasses.replace(
    OLD,
    channel_gain=0.3,
    channel_offset=0.1,
    gamma=0.4,
    blur=1.0,
    downscale=2.0,
    noise=0.1,
    cutout=8,
    invert=0.5,
)


def test_center_window_is_the_middle_with_zero_mean():
    window = np.asarray(inputs.center_window(IMAGES, ImageConfig(crop=20, normalize="mean")))
    expected = IMAGES[:, 2:22, 2:22].astype(np.float64) / 255
    np.testing.assert_allclose(
        window, expected - expected.mean(axis=(1, 2, 3), keepdims=True), atol=1e-6
    )


def test_contrast_is_divided_out_but_never_noise_alone():
    flat = np.full((1, 24, 24, 3), 100, np.uint8)
    window = inputs.center_window(np.concatenate([IMAGES[:1], flat]), ImageConfig(crop=20))
    assert float(window[0].std()) == pytest.approx(1, abs=0.08)
    np.testing.assert_allclose(window[1], 0, atol=1e-4)


@pytest.mark.parametrize("warp", [{}, {"scale": 1e-9}])
def test_training_without_any_change_sees_what_evaluation_sees(warp):
    image = ImageConfig(crop=20)
    window = WINDOW(IMAGES, KEYS, image, dataclasses.replace(STILL, **warp))
    np.testing.assert_allclose(window, inputs.center_window(IMAGES, image), atol=1e-4)


def test_random_crop_reaches_every_place_and_no_other():
    places = np.broadcast_to(np.arange(24 * 24).reshape(24, 24, 1), (300, 24, 24, 1))
    draws = jax.random.uniform(jax.random.key(1), (300, 10), minval=-1.0)
    windows = jax.vmap(lambda x, u: augment._slice(x, u, 22, AugmentConfig()))(places, draws)
    assert windows.shape == (300, 22, 22, 1)
    assert set(windows[:, 0, 0, 0].tolist()) == {
        row * 24 + column for row in range(3) for column in range(3)
    }


def test_what_happens_to_an_image_depends_on_its_own_key_alone():
    image = ImageConfig(crop=20)
    whole = WINDOW(IMAGES, KEYS, image, ALL)
    third = jnp.full(4, 2)
    alone = WINDOW(IMAGES[third], KEYS[third], image, ALL)
    np.testing.assert_allclose(alone, jnp.broadcast_to(whole[2], whole.shape), atol=1e-5)
    other_keys = WINDOW(IMAGES, KEYS[third], image, ALL)
    np.testing.assert_allclose(other_keys[2], whole[2], atol=1e-5)
    assert not np.allclose(other_keys[3], whole[3], atol=0.1)


def test_gray_has_one_channel_with_the_standard_weights_and_resize_the_asked_side():
    red = np.zeros((1, 24, 24, 3), np.uint8)
    red[:, :12, :, 0] = 255
    image = ImageConfig(crop=24, grayscale=True, normalize="mean")
    gray = inputs.center_window(red, image)
    assert gray.shape == (1, 24, 24, 1)
    assert float(gray.max() - gray.min()) == pytest.approx(0.299, abs=1e-5)
    assert inputs.center_window(red, dataclasses.replace(image, resize=32)).shape == (1, 32, 32, 1)
    assert inputs.input_shape(dataclasses.replace(image, resize=32)) == (32, 32, 1)
    assert inputs.input_shape(ImageConfig(crop=54)) == (54, 54, 3)


def test_hue_turns_colour_and_leaves_luma():
    config = dataclasses.replace(STILL, hue=0.5)
    image = jnp.full((4, 4, 3), 0.5).at[..., 0].set(0.6)
    turned = augment._recolor(image, jnp.array([0.0, 0.0, 0.0, 1.0]), config)
    assert not np.allclose(turned, image, atol=0.02)
    np.testing.assert_allclose(inputs.to_gray(turned), inputs.to_gray(image), atol=2e-3)


def test_changes_that_are_off_are_not_in_the_program():
    image, changes = ImageConfig(crop=20), AugmentConfig()
    program = str(jax.make_jaxpr(lambda x, keys: augment.random_window(x, keys, image, changes))(
        IMAGES, KEYS
    ))  # fmt: skip
    assert program.count("random_bits") == 1
    assert not [name for name in ("random_fold_in", "dot_general", " pow ") if name in program]


def test_a_change_does_not_disturb_the_draws_of_another():
    image = ImageConfig(crop=20)
    tiny = {
        "channel_gain": 1e-6,
        "channel_offset": 1e-6,
        "gamma": 1e-6,
        "blur": 1e-3,
        "downscale": 1.0,
        "noise": 1e-6,
    }
    without, with_tiny = (WINDOW(IMAGES, KEYS, image, config) for config in (
        OLD, dataclasses.replace(OLD, **tiny)
    ))  # fmt: skip
    np.testing.assert_allclose(with_tiny, without, atol=1e-3)


def test_each_channel_has_its_own_gain_and_offset():
    image = jnp.broadcast_to(jnp.linspace(0.3, 0.6, 16).reshape(4, 4, 1), (4, 4, 3))
    config = dataclasses.replace(STILL, channel_gain=0.3, channel_offset=0.2)
    changed = np.asarray(CHANGE(image, jnp.zeros(4), KEYS[0], config))
    lines = [np.polyfit(np.asarray(image[..., 0]).ravel(), changed[..., n].ravel(), 1)
             for n in range(3)]  # fmt: skip
    assert (np.abs(np.array(lines) - (1, 0)) <= (0.3001, 0.2001)).all()
    assert len(np.unique(np.round(lines, 3))) == 6


def test_gamma_raises_all_values_to_one_power():
    image = jnp.array([0.0, 0.25, 0.5, 1.0]).repeat(3).reshape(2, 2, 3)
    changed = CHANGE(image, jnp.zeros(4), KEYS[0], dataclasses.replace(STILL, gamma=0.5))
    power = float(jnp.log2(changed[0, 1, 0]) / -2)
    assert np.exp(-0.5) <= power <= np.exp(0.5)
    assert abs(power - 1) > 0.01
    np.testing.assert_allclose(changed, image**power, rtol=1e-5)


def test_blur_is_a_gaussian_whose_weights_add_up_to_one_at_the_edge_too():
    matrix = np.asarray(augment._gaussian(9, jnp.float32(1.0)))
    density = [0.39894, 0.24197, 0.05399]  # of the standard normal distribution
    np.testing.assert_allclose(matrix[4, 4:7], density, atol=1e-4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(augment._gaussian(9, jnp.float32(0.0)), np.eye(9))


@pytest.mark.parametrize(("size", "factor"), [(9, 2.3), (20, 7.9)])
def test_a_cell_cut_by_the_edge_counts_as_much_as_any_other(size, factor):
    fine, row = 100, np.random.default_rng(0).random(size)
    cell_of = ((np.arange(size * fine) + 0.5) / fine // factor).astype(int)
    averages = [np.repeat(row, fine)[cell_of == cell].mean() for cell in range(cell_of.max() + 1)]
    centers = (np.arange(len(averages)) + 0.5) * factor
    expected = np.interp(np.arange(size) + 0.5, centers, averages)
    np.testing.assert_allclose(
        augment._low_resolution(size, jnp.float32(factor)) @ row, expected, atol=1e-4
    )


def test_the_negative_comes_as_often_as_asked_and_changes_nothing_else():
    image = IMAGES[0].astype(np.float32) / 255
    config = dataclasses.replace(STILL, invert=0.25)
    changed = jax.jit(jax.vmap(lambda key: augment._change(image, jnp.zeros(4), key, config)))(
        jax.random.split(jax.random.key(5), 400)
    )
    is_negative = np.array([np.allclose(x, 1 - image, atol=1e-6) for x in changed])
    assert all(np.allclose(x, image, atol=1e-6) for x in changed[~is_negative])
    assert 60 <= is_negative.sum() <= 140  # 100 expected, four and a half standard deviations


def test_noise_has_a_random_strength_up_to_the_greatest():
    config, gray = dataclasses.replace(STILL, noise=0.1), jnp.full((20, 20, 3), 0.5)
    keys = jax.random.split(jax.random.key(2), 100)
    noisy = jax.jit(jax.vmap(lambda key: augment._change(gray, jnp.zeros(4), key, config)))(keys)
    strengths = noisy.std(axis=(1, 2, 3))
    assert float(strengths.mean()) == pytest.approx(0.05, abs=0.01)
    assert 0.09 < float(strengths.max()) < 0.11
    assert float(noisy.mean()) == pytest.approx(0.5, abs=0.002)


def test_a_patch_of_the_mean_colour_hides_no_more_than_its_square():
    image = jnp.asarray(IMAGES[0, :8, :8] / 255, jnp.float32)
    patched = np.array(augment._cut_out(image, jnp.array([0.5, 0.25, 1.0]), 4))
    np.testing.assert_allclose(
        patched[2:6, :4], np.broadcast_to(image.mean(axis=(0, 1)), (4, 4, 3)), rtol=1e-6
    )
    patched[2:6, :4] = image[2:6, :4]
    np.testing.assert_array_equal(patched, image)


def test_products_of_colours_and_pixels_have_the_precision_of_float32_on_accelerators():
    image = ImageConfig(crop=20, resize=16, grayscale=True)
    products = float32_products(
        lambda x, keys: augment.random_window(x, keys, image, ALL), IMAGES, KEYS
    )
    assert len(products) >= 5  # hue, blur and lower resolution, resize
    assert [line for line in products if "HIGHEST, HIGHEST" not in line] == []
