import dataclasses
import json
import shutil

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


def test_a_batch_larger_than_the_data_set_goes_round_it():
    assert sorted(np.bincount(DataOrder(np.arange(4), 10, seed=0).rows(0)).tolist()) == [2, 2, 3, 3]


def config_of(*folders, repeat=1):
    first, *others = map(str, folders)
    return dataclasses.replace(
        CONFIG, data=DataConfig(dir=first, repeat=repeat, mix_in=tuple(others))
    )


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


def test_every_data_set_may_be_repeated(tmp_path):
    prepare(tmp_path / "a", 3)
    prepare(tmp_path / "b", 2, seed=1)
    prepare(tmp_path / "c", 1, seed=2)
    config = config_of(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, mix_in_repeat=(1, 3))
    )
    assert load_training_set(config).epoch.tolist() == [0, 1, 2, 3, 4, 5, 5, 5]


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


def test_what_cannot_be_trained_on_is_named(tmp_path):
    prepare(tmp_path / "a", 3)
    prepare(tmp_path / "small", 3, side=16)
    prepare(tmp_path / "empty", 0)
    with pytest.raises(InputError, match="has no split 'validation'; its splits: train"):
        load_images(str(tmp_path / "a"), "validation", CONFIG)
    with pytest.raises(
        InputError,
        match=r"image\.crop is 20, more than the 16 pixels of the images in .*small; give --image\.crop 16 or",
    ):
        load_images(str(tmp_path / "small"), "train", CONFIG)
    with pytest.raises(InputError, match="its train split is empty"):
        load_images(str(tmp_path / "empty"), "train", CONFIG)
    mixed = config_of(tmp_path / "a", tmp_path / "small")
    with pytest.raises(
        InputError,
        match=r"small: its crops have size 16, but .*a has size 24; .* --size 24 --margin",
    ):
        load_training_set(mixed)


def test_labels_of_another_max_digits_than_the_models_are_refused_with_the_remedy(tmp_path):
    prepare(tmp_path / "a", 3)
    prepare(tmp_path / "meters", 3, max_digits=8)
    eight = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, max_digits=8))
    assert load_images(str(tmp_path / "meters"), "train", eight).labels.shape == (3, 9)
    with pytest.raises(
        InputError,
        match=r"meters: its labels hold at most 8 digits, but model\.max_digits is 5; prepare that data set again with "
        r"--max-digits 5, or train with --model\.max-digits 8$",
    ):
        load_training_set(config_of(tmp_path / "meters"))
    with pytest.raises(
        InputError, match=r"a: its labels hold at most 5 digits, but model\.max_digits is 8"
    ):
        load_training_set(dataclasses.replace(config_of(tmp_path / "a"), model=eight.model))
    with pytest.raises(
        InputError,
        match=r"meters: .* 8 digits, but model\.max_digits is 5; .* with --max-digits 5$",
    ):
        load_training_set(config_of(tmp_path / "a", tmp_path / "meters"))


def test_only_crops_of_one_rule_are_mixed(tmp_path):
    prepare(tmp_path / "a", 3)
    prepare(tmp_path / "wide", 3)
    manifest = tmp_path / "wide" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"margin": 0.3', '"margin": 0.6'))
    with pytest.raises(
        InputError, match=r"wide: its crops have margin 0\.6, but .*a has margin 0\.3"
    ):
        load_training_set(config_of(tmp_path / "a", tmp_path / "wide"))


def test_validation_photos_are_not_mixed_in(tmp_path):
    prepare(tmp_path / "a", 3, validation=6)  # its validation photos are those of seed 100
    prepare(tmp_path / "other", 4, seed=1)
    prepare(tmp_path / "leak", 6, seed=100)
    refuse_held_out_photos(config_of(tmp_path / "a", tmp_path / "other"))
    with pytest.raises(
        InputError,
        match=r"leak: its train split holds 6 of the validation photos of .*a \(train/0\.png",
    ):
        refuse_held_out_photos(config_of(tmp_path / "a", tmp_path / "other", tmp_path / "leak"))


def test_test_photos_are_not_mixed_in(tmp_path):
    prepare(tmp_path / "a", 3, validation=2)
    prepare(tmp_path / "leak", 6, seed=7)
    shutil.copytree(tmp_path / "leak" / "train", tmp_path / "a" / "test")
    ours, theirs = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("a", "leak")
    )
    ours["splits"]["test"] = theirs["splits"]["train"]
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(ours))
    with pytest.raises(
        InputError, match=r"leak: its train split holds 6 of the test photos of .*a \(train/0\.png"
    ):
        refuse_held_out_photos(config_of(tmp_path / "a", tmp_path / "leak"))
