import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax.config import Config, DataConfig, ImageConfig, ModelConfig
from svhn_jax.finding import task as finder_task
from svhn_jax.finding.scenes import MOST_DIGITS
from svhn_jax.finding.task import FinderTask
from svhn_jax.training import run

SIDE = 48
BOX = (20.0, 10.0, 32.0, 30.0)


def scenes(count):
    """Grey scenes with a white bar, which is called a 1."""
    images = np.full((count, SIDE, SIDE, 3), 90, np.uint8)
    labels = np.full((count, MOST_DIGITS, 5), np.nan, np.float32)
    images[::2, 10:30, 20:32] = 255
    labels[::2, 0] = (*BOX, 1)
    return images, labels


@pytest.fixture
def config(tmp_path):
    for split, count in (("train", 32), ("validation", 8)):
        (tmp_path / "scenes" / split).mkdir(parents=True)
        for name, values in zip(("images", "digits"), scenes(count), strict=True):
            np.save(tmp_path / "scenes" / split / f"{name}.npy", values)
    (tmp_path / "scenes" / "scenes.json").write_text("{}")
    return Config(
        runs_dir=str(tmp_path),
        name="finder",
        num_steps=2,
        batch_size=16,
        eval_batch_size=6,
        data=DataConfig(dir=str(tmp_path / "scenes")),
        image=ImageConfig(crop=32),
        model=ModelConfig(architecture="finder", width=8, blocks=(1,)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_window_holds_the_middle_of_the_digits_and_moves_their_boxes(seed):
    images, labels = scenes(1)
    window, moved = finder_task.random_window(
        images[0], jnp.asarray(labels[0]), jax.random.key(seed), 32
    )
    assert window.shape == (32, 32, 3)
    left, top, right, bottom = np.array(moved[0, :4]).astype(int)
    assert (right - left, bottom - top) == (12, 20)
    assert moved[0, 4] == 1
    assert -6 <= left <= 26
    assert -10 <= top <= 22
    inside = np.zeros((32, 32), bool)
    inside[max(0, top) : bottom, max(0, left) : right] = True
    gray = np.array(window).mean(axis=-1)
    assert np.ptp(gray[inside]) < 1e-5
    assert np.ptp(gray[~inside]) < 1e-5
    assert abs(gray[inside].mean() - gray[~inside].mean()) > 0.1


def test_a_run_of_the_trainer_saves_its_validation(config):
    assert run.run(config, FinderTask) == 0
    [row] = [
        row
        for row in run.RunFolder(f"{config.runs_dir}/finder").metrics()
        if "validation" in str(row)
    ]
    assert np.isfinite(row["validation"]["loss"]) if "validation" in row else True


def test_scores_do_not_depend_on_the_batch(config):
    made = FinderTask(config)
    _, validation = made.load()
    variables = made.network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), False)
    scored = [
        FinderTask(dataclasses.replace(config, eval_batch_size=size)).scorer(
            validation, jax.make_mesh((1,), ("data",))
        )(variables)
        for size in (8, 3)
    ]
    assert scored[0] == pytest.approx(scored[1], rel=1e-4)
    assert 0 < scored[0]["selection_score"] < 1
