"""Training scenes, of synthetic photos."""

import json

import numpy as np
import pytest
from PIL import Image

from svhn_jax.data.records import Record
from svhn_jax.data.synthetic import photos
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError
from svhn_jax.finding import material, scene_files, scenes

COUNTS = {"train": 6, "validation": 3}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    with Workers(0) as workers:
        photos.write(
            folder / "raw" / "train", "train", 40,
            seed=0, max_digits=5, workers=workers, advance=lambda count: None,
        )  # fmt: skip
    (folder / "empty").mkdir()
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 255, (120, 160, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "empty" / f"{number:02}.png")
    return {"raw": str(folder / "raw"), "boxed": None, "empty": str(folder / "empty")}


def compose(made, count=40):
    return [scenes.compose(np.random.default_rng([3, seed]), made) for seed in range(count)]


def test_a_scene_is_a_function_of_the_generator_and_the_material(sources):
    made = material.of_split("train", **sources)
    first, second = compose(made, 5), compose(made, 5)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.digits, other.digits)


def test_most_scenes_have_digits_and_some_have_none(sources):
    rows = [
        one.digits[~np.isnan(one.digits[:, 0])]
        for one in compose(material.of_split("train", **sources))
    ]
    assert 0 < sum(not len(digits) for digits in rows) < 20
    for digits in rows:
        assert set(digits[:, 4].tolist()) <= set(range(10))
        assert (digits[:, :2] < digits[:, 2:4]).all()


def test_a_photo_keeps_its_digits_where_it_is_pasted():
    red, blank = Image.new("RGB", (60, 40), "black"), Image.new("RGB", (200, 200), "black")
    red.paste((255, 0, 0), (20, 10, 30, 30))
    example = material.Example("1.png", red, (5,), np.array([[20.0, 10.0, 30.0, 30.0]]))
    made = material.Material([example], [blank])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        image, digits, boxes = scenes._pasted(rng, *example[1:], made)
        pixels = np.asarray(image, int)
        y, x = np.nonzero((pixels[..., 0] > 130) & (pixels[..., 1] < 100))
        left, top, right, bottom = np.clip(boxes[0], 0, scenes.SCENE)
        assert digits == (5,)
        if right - left > 4 and bottom - top > 4:
            seen = (x.min(), y.min(), x.max() + 1, y.max() + 1)
            np.testing.assert_allclose(seen, (left, top, right, bottom), atol=2)


def test_the_box_of_a_whole_number_is_divided_among_its_digits():
    record = Record("1.png", (1, 0), np.array([[10.0, 20.0, 88.0, 50.0]]))
    boxes = material.digit_boxes(record)
    np.testing.assert_allclose(boxes[:, [1, 3]], [(20, 70), (20, 70)])
    np.testing.assert_allclose(boxes[:, [0, 2]], [(10, 47), (47, 98)])


def test_photos_of_validation_are_not_trained_on(sources):
    train, held_out = (material.of_split(split, **sources) for split in scene_files.SPLITS)
    names = [{example.name for example in one.examples} for one in (train, held_out)]
    assert names[0]
    assert names[1]
    assert not names[0] & names[1]
    assert (len(train.empty), len(held_out.empty)) == (9, 2)


def test_scenes_on_disk_are_composed_once_and_do_not_depend_on_the_processes(tmp_path, sources):
    done = []
    for jobs, folder in ((1, tmp_path / "one"), (2, tmp_path / "two"), (1, tmp_path / "one")):
        with Workers(jobs) as workers:
            scene_files.build(folder, COUNTS, 0, sources, workers, done.append)
    assert sum(done) == 18  # the third call finds them
    for split, count in COUNTS.items():
        one, two = (scene_files.load(str(tmp_path / name), split) for name in ("one", "two"))
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert len(one) == count
        assert one.fingerprint == two.fingerprint
    assert json.loads((tmp_path / "one" / "scenes.json").read_text())["counts"] == COUNTS


def test_scenes_that_are_not_complete_are_refused(tmp_path):
    with pytest.raises(InputError, match="train_finder"):
        scene_files.load(str(tmp_path), "train")


def test_scenes_never_replace_a_prepared_data_set(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with Workers(0) as workers, pytest.raises(InputError, match=r"prepared data set"):
        scene_files.build(tmp_path, {"train": 1}, 0, {}, workers, lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
