import dataclasses
import signal

import jax
import numpy as np
import pytest

from svhn_jax.errors import InputError
from svhn_jax.finding import training, weights
from svhn_jax.finding.config import SCENE, FinderConfig
from svhn_jax.finding.scene_files import Scenes

CONFIG = FinderConfig(width=8, blocks=1, batch_size=8, steps=4)


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(0)
    boxes = np.tile(np.array([60, 60, 90, 85], np.float32), (20, 1))
    boxes[::3] = np.nan
    return Scenes(rng.integers(0, 256, (20, SCENE, SCENE, 3)).astype(np.uint8), boxes)


def test_a_stopped_run_goes_on_to_the_same_bits(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 2)
    origin = {"raw": "/photos", "start": None}
    training.require_same_run(CONFIG, tmp_path / "whole", origin)  # there is none yet
    whole = training.train(CONFIG, scenes, tmp_path / "whole", lambda _: None, None, origin)

    def stop(line):
        if line.startswith("step 2 "):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(InputError, match="stopped at step 2"):
        training.train(CONFIG, scenes, tmp_path / "stopped", stop)
    resumed = training.train(CONFIG, scenes, tmp_path / "stopped", lambda _: None)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    training.require_same_run(CONFIG, tmp_path / "whole", origin)
    training.require_same_run(CONFIG, tmp_path / "stopped", origin)  # it saved no origin
    wider = dataclasses.replace(CONFIG, width=16)
    with pytest.raises(
        InputError, match="its run has --width 8, not 16; give the same, or another --work"
    ):
        training.require_same_run(wider, tmp_path / "stopped", origin)
    for name, value, words in (
        ("raw", "/other", "--raw /photos, not /other"),
        ("start", "/a", "--start none, not /a"),
    ):
        with pytest.raises(InputError, match=words):
            training.require_same_run(CONFIG, tmp_path / "whole", origin | {name: value})


def test_each_scene_is_shown_once_an_epoch():
    shown = np.concatenate(
        [training.batch_rows(CONFIG, 20, step) for step in range(5)]
    )  # two epochs of 20
    assert np.bincount(shown, minlength=20).tolist() == [2] * 20
    later = np.concatenate([training.batch_rows(CONFIG, 20, step) for step in range(5, 10)])
    assert later.tolist() != shown.tolist()


def test_a_loss_that_is_not_finite_stops_the_run(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 1)
    broken = dataclasses.replace(CONFIG, learning_rate=1e30)
    with pytest.raises(InputError, match="not finite"):
        training.train(broken, scenes, tmp_path, lambda _: None)


def test_a_batch_that_does_not_split_is_refused(scenes, tmp_path):
    with pytest.raises(InputError, match="batch_size is 9"):
        training.train(dataclasses.replace(CONFIG, batch_size=9), scenes, tmp_path, lambda _: None)


def test_a_run_can_start_from_a_trained_finder(scenes, tmp_path):
    first = training.train(CONFIG, scenes, tmp_path / "first", lambda _: None)
    weights.save(tmp_path / "finder", CONFIG, first, 0.5)
    still = dataclasses.replace(CONFIG, learning_rate=1e-12, weight_decay=0.0, seed=5)
    start = weights.load_for(still, tmp_path / "finder")
    second = training.train(still, scenes, tmp_path / "second", lambda _: None, start)
    for a, b in zip(
        jax.tree.leaves(first["params"]), jax.tree.leaves(second["params"]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)  # float16 on the way
    other = dataclasses.replace(CONFIG, width=16)
    with pytest.raises(InputError, match="give --width 8 --blocks 1"):
        weights.load_for(other, tmp_path / "finder")
