import dataclasses

import numpy as np
import pytest
from tiny import CONFIG, prepare

from svhn_jax.config import DataConfig
from svhn_jax.errors import InputError
from svhn_jax.training.dataset import (
    DataOrder,
    load_images,
    load_training_set,
    refuse_held_out_photos,
)


def test_every_epoch_shows_every_row_once_in_an_order_of_its_own():
    epoch = np.array([0, 1, 2, 3, 4, 5, 6, 6])
    order = DataOrder(epoch, 3, seed=1)
    epochs = np.concatenate([order.rows(step) for step in range(8)]).reshape(3, 8)
    assert [sorted(shown) for shown in epochs.tolist()] == [epoch.tolist()] * 3
    assert len({tuple(shown) for shown in epochs.tolist()}) == 3


def test_rows_are_a_pure_function_of_seed_and_step():
    whole = DataOrder(np.arange(100), 8, seed=5)
    for step in range(40):
        whole.rows(step)
    np.testing.assert_array_equal(whole.rows(41), DataOrder(np.arange(100), 8, seed=5).rows(41))
    assert whole.rows(41).tolist() != DataOrder(np.arange(100), 8, seed=6).rows(41).tolist()
    assert whole.rows(41).dtype == np.int32


def config_of(*folders, repeat=1, repeats=()):
    first, *others = map(str, folders)
    data = DataConfig(dir=first, repeat=repeat, mix_in=tuple(others), mix_in_repeat=repeats)
    return dataclasses.replace(CONFIG, data=data)


def test_data_sets_are_joined_and_the_first_is_repeated(tmp_path):
    first, second = prepare(tmp_path / "a", 3), prepare(tmp_path / "b", 2, seed=1)
    data = load_training_set(config_of(tmp_path / "a", tmp_path / "b", repeat=2))
    whole = np.concatenate([first.images, second.images])
    np.testing.assert_array_equal(data.images().reshape(5, 24, 24, 3), whole)
    rows = np.array([[4, 0, 2], [3, 3, 1]])
    np.testing.assert_array_equal(data.take(rows).reshape(2, 3, 24, 24, 3), whole[rows])
    assert data.nbytes == whole.nbytes + data.labels.nbytes
    np.testing.assert_array_equal(data.labels, np.concatenate([first.labels, second.labels]))
    assert data.epoch.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert data.side == 24
    twice = config_of(tmp_path / "a", tmp_path / "b", repeats=(2,))
    assert load_training_set(twice).epoch.tolist() == [0, 1, 2, 3, 4, 3, 4]


def test_another_mix_has_another_fingerprint(tmp_path):
    prepare(tmp_path / "a", 3)
    prepare(tmp_path / "b", 2, seed=1)
    mixes = [("a",), ("b",), ("a", "b"), ("b", "a")]
    prints = {
        load_training_set(config_of(*(tmp_path / name for name in mix))).fingerprint
        for mix in mixes
    }
    prints.add(load_training_set(config_of(tmp_path / "a", repeat=2)).fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("name", "split", "named"),
    [
        ("a", "validation", r"validation.*its splits: train"),
        ("small", "train", r"--image\.crop 16"),
        ("empty", "train", "train split is empty"),
        ("meters", "train", r"--max-digits 5.*--model\.max-digits 8$"),
    ],
)
def test_a_split_that_does_not_suit_the_configuration_is_named(tmp_path, name, split, named):
    options = {"small": {"side": 16}, "meters": {"max_digits": 8}}.get(name, {})
    prepare(tmp_path / name, 0 if name == "empty" else 3, **options)
    with pytest.raises(InputError, match=f"{name}.*{named}|{named}.*{name}"):
        load_images(str(tmp_path / name), split, CONFIG)


def test_only_crops_of_one_rule_are_mixed(tmp_path):
    prepare(tmp_path / "a", 3)
    prepare(tmp_path / "wide", 3)
    manifest = tmp_path / "wide" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"margin": 0.3', '"margin": 0.6'))
    with pytest.raises(InputError, match=r"wide: its crops have margin 0\.6, but .*a has"):
        load_training_set(config_of(tmp_path / "a", tmp_path / "wide"))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_photos_are_not_mixed_in(tmp_path, split):
    prepare(tmp_path / "a", 3, validation=6)  # its validation photos are those of seed 100
    prepare(tmp_path / "other", 4, seed=1)
    prepare(tmp_path / "leak", 6, seed=100)
    if split == "test":
        manifest = tmp_path / "a" / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"validation"', '"test"'))
        (tmp_path / "a" / "validation").rename(tmp_path / "a" / "test")
    refuse_held_out_photos(config_of(tmp_path / "a", tmp_path / "other"))
    with pytest.raises(InputError, match=rf"leak: .* 6 of the {split} photos of .*train/0\.png"):
        refuse_held_out_photos(config_of(tmp_path / "a", tmp_path / "other", tmp_path / "leak"))
