import jax
import numpy as np
import pytest
from tiny import mesh_of

from svhn_jax.finding import network, steps
from svhn_jax.finding.config import SCENE, WINDOW, FinderConfig
from svhn_jax.model.randomness import random_key
from svhn_jax.training import devices

CONFIG = FinderConfig(width=8, blocks=1, batch_size=8, steps=10)


def scene_with(box):
    scene = np.full((SCENE, SCENE, 3), 40, np.uint8)
    scene[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 220
    return scene


@pytest.mark.parametrize(
    "box", [(70, 60, 100, 90), (4, 6, 30, 24), (120, 130, 150, 156), (0, 2, 10, 10)]
)
def test_the_box_moves_with_the_window_and_its_centre_stays_inside(box):
    for seed in range(8):
        window, moved = steps.random_window(
            scene_with(box), np.array(box, np.float32), random_key(seed)
        )
        window, moved = np.asarray(window), np.asarray(moved)
        assert window.shape == (WINDOW, WINDOW, 3)
        center = (moved[:2] + moved[2:]) / 2
        in_scene = (np.array(box[:2]) + box[2:]) / 2
        # Not in the window's outer tenth, unless the number is nearer to the scene's own side; corners are rounded.
        assert (center >= np.minimum(0.1 * WINDOW, in_scene) - 0.5).all()
        assert (center <= np.maximum(0.9 * WINDOW, in_scene - (SCENE - WINDOW)) + 0.5).all()
        left, top, right, bottom = np.clip(moved, 0, WINDOW).astype(int)
        is_bright = np.zeros((WINDOW, WINDOW), bool)
        is_bright[top:bottom, left:right] = True
        tones = window.mean(axis=-1)
        assert tones[is_bright].min() > tones[~is_bright].max()


def test_windows_of_a_scene_differ_by_key_alone():
    scene, box = scene_with((60, 60, 90, 90)), np.array([60, 60, 90, 90], np.float32)
    first, again, other = (
        np.asarray(steps.random_window(scene, box, random_key(seed))[0]) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_grey_of_a_canvas_stays_zero_whatever_the_colours():
    scene = np.full((SCENE, SCENE, 3), 128, np.uint8)
    window, moved = steps.random_window(scene, np.full(4, np.nan, np.float32), random_key(3))
    np.testing.assert_array_equal(np.asarray(window), 0)
    assert np.isnan(np.asarray(moved)).all()


def run_steps(device_count, count=3):
    mesh, rng = mesh_of(device_count), np.random.default_rng(0)
    state = devices.put(
        jax.device_get(jax.jit(lambda: steps.create(CONFIG))()), devices.replicated(mesh)
    )
    step = steps.compile_train_step(CONFIG, mesh)
    losses = []
    for _ in range(count):
        boxes = np.array([[50, 50, 80, 75], [np.nan] * 4] * 4, np.float32)
        state, parts = step(
            state, rng.integers(0, 256, (8, SCENE, SCENE, 3)).astype(np.uint8), boxes
        )
        losses.append(np.asarray(parts))
    return np.array(losses), jax.device_get(state)


def test_one_device_and_eight_train_alike():
    (one, state_of_one), (eight, state_of_eight) = run_steps(1), run_steps(8)
    np.testing.assert_allclose(one, eight, rtol=2e-4)
    for a, b in zip(
        jax.tree.leaves(state_of_one.ema), jax.tree.leaves(state_of_eight.ema), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=2e-3)
    assert (one[:, 2] > 0).all()
    assert int(state_of_one.step) == 3


def test_maps_have_a_cell_for_8_pixels_whatever_the_canvas():
    variables = network.init_variables(CONFIG, random_key(0))
    for height, width in ((8, 8), (96, 128)):
        maps = network.build(CONFIG).apply(
            variables, np.zeros((2, height, width, 3), np.float32), False
        )
        assert maps.logits.shape == (2, height // 8, width // 8)
        assert maps.boxes.shape == (2, height // 8, width // 8, 4)


def test_a_box_reaches_12_pixels_to_each_side_where_the_network_says_nothing():
    boxes = np.asarray(network._to_boxes(np.zeros((1, 2, 3, 4), np.float32)))
    np.testing.assert_allclose(
        boxes[0, 1, 2], [20 - 12, 12 - 12, 20 + 12, 12 + 12], rtol=1e-6
    )  # centre (20, 12)
