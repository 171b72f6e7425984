import numpy as np
import pytest
from tiny import prepare

from svhn_jax.data import arrays
from svhn_jax.data.overlap import shared_photos
from svhn_jax.errors import InputError


def shared(folder):
    return shared_photos(folder / "a", "validation", folder / "b", "train")


def change(path, rows, value):
    array = np.load(path)
    array[rows] = value(array[rows])
    np.save(path, array)


@pytest.fixture
def folder(tmp_path):
    """a's validation photos 0 to 4 are b's train photos 0 to 4; b has more."""
    prepare(tmp_path / "a", 3, validation=5)
    prepare(tmp_path / "b", 5, seed=100)
    return tmp_path


def test_the_same_photos_are_found_by_name(folder):
    assert shared(folder) == [f"train/{row}.png" for row in range(5)]


def test_a_crop_by_another_version_of_pillow_is_the_same_photo(folder):
    change(folder / "b/train/images.npy", [1, 3], lambda images: images ^ 1)  # by one grey level
    change(folder / "b/train/images.npy", [2, 4], lambda images: images ^ 8)
    assert shared(folder) == ["train/0.png", "train/1.png", "train/3.png"]


@pytest.mark.parametrize("name", ["labels", "boxes", "sizes"])
def test_a_photo_with_another_label_box_or_size_is_another(folder, name):
    change(
        folder / f"b/train/{name}.npy",
        [2],
        lambda row: row + (name != "labels") - (name == "labels") * (row > 0),
    )
    assert "train/2.png" not in shared(folder)
    assert len(shared(folder)) == 4


def test_many_photos_of_one_label_and_size_are_told_apart_by_their_pixels(tmp_path):
    prepare(tmp_path / "a", 2, validation=200)
    prepare(tmp_path / "b", 200, seed=1)
    for path in (tmp_path / "a/validation", tmp_path / "b/train"):
        change(path / "labels.npy", slice(None), lambda labels: labels * 0 + 10)
        change(path / "labels.npy", (slice(None), 0), lambda lengths: lengths * 0)
    assert shared(tmp_path) == []
    images = arrays.load_split(tmp_path / "a", "validation").images[[7, 190]]
    change(tmp_path / "b/train/images.npy", [100, 3], lambda _: images)
    assert shared(tmp_path) == ["train/7.png", "train/190.png"]


def test_labels_of_another_max_digits_cannot_be_compared_and_an_empty_split_shares_nothing(
    tmp_path,
):
    prepare(tmp_path / "a", 3, validation=5)
    prepare(tmp_path / "b", 0)
    assert shared(tmp_path) == []
    prepare(tmp_path / "c", 5, seed=100, max_digits=8)
    with pytest.raises(InputError, match="--max-digits"):
        shared_photos(tmp_path / "a", "validation", tmp_path / "c", "train")
