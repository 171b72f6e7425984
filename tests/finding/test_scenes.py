from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svhn_jax.data.crop import Box
from svhn_jax.data.synthetic import archive as synthetic_archive
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError
from svhn_jax.finding import clutter, large_scenes, material, scene_files, scenes
from svhn_jax.finding.config import SCENE
from svhn_jax.finding.material import Example, Material
from svhn_jax.labels import DEFAULT_MAX_DIGITS

RED = (250, 0, 0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    with Workers(1) as workers:
        settings = {"seed": 3, "workers": workers, "max_digits": DEFAULT_MAX_DIGITS}
        synthetic_archive.write(
            folder / "train.tar.gz", "train", 30, **settings, advance=lambda _: None
        )
    return folder


def red_number():
    """A grey photo whose number is a red rectangle."""
    pixels = np.full((70, 120, 3), 90, np.uint8)
    pixels[20:50, 40:80] = RED
    return Example("red.png", Image.fromarray(pixels), Box(40, 20, 80, 50), "12")


def test_a_scene_is_a_function_of_the_generator(raw):
    made = material.training(raw, None)
    first, again = (
        [scenes.compose(np.random.default_rng([5, n]), made) for n in range(12)] for _ in range(2)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.box, b.box)
    assert {one.image.shape for one in first} == {(SCENE, SCENE, 3)}
    is_empty = [bool(np.isnan(one.box).any()) for one in first]
    assert 0 < sum(is_empty) < 12


@pytest.mark.parametrize("kind", [scenes._whole, scenes._pasted])
def test_the_box_is_where_the_photos_number_went(kind, monkeypatch):
    monkeypatch.setattr(scenes, "SYNTHETIC", 0.0)
    monkeypatch.setattr(clutter, "_color", lambda *_: (0, 60, 60))  # nothing else is red
    monkeypatch.setattr(scenes, "_relit", lambda scene, photo: scene)
    for seed in range(20):
        scene, box = kind(np.random.default_rng(seed), Material([red_number()], []))
        pixels = np.asarray(scene, int)
        is_red = (pixels[..., 0] - pixels[..., 1] > 80) & (pixels[..., 0] - pixels[..., 2] > 80)
        rows, columns = np.flatnonzero(is_red.any(axis=1)), np.flatnonzero(is_red.any(axis=0))
        found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(found, np.clip(box, 0, SCENE), atol=2)


def test_a_rendered_number_is_where_it_was_asked_for():
    from svhn_jax.data.synthetic.render import View, render

    for seed in range(5):
        photo, _, rows = render(np.random.default_rng(seed), view=View((200, 150), 30, (120, 60)))
        low, high = rows[:, :2].min(axis=0), (rows[:, :2] + rows[:, 2:]).max(axis=0)
        assert photo.size == (200, 150)
        np.testing.assert_allclose((low + high) / 2, [120, 60], atol=6)


def test_patches_stay_away_from_the_number():
    patches = material.patches_of(red_number())
    # 9 pixels clear: 31 to the left and right. 11 are left above and below, which is too few.
    assert [patch.size for patch in patches] == [(31, 70), (31, 70)]
    assert all((np.asarray(patch) == 90).all() for patch in patches)


def test_validation_photos_are_those_of_preprocess_and_are_not_trained_on(raw, tmp_path):
    from svhn_jax.data.prepare import assign
    from svhn_jax.data.sources.find import find_source

    rule = {"validation_fraction": 0.2, "seed": 0, "limit": None, "max_digits": DEFAULT_MAX_DIGITS}
    [part] = assign.plan([find_source(raw, "train")], **rule)
    expected = {
        record.name
        for record, split in zip(part.account.records, part.places.splits, strict=True)
        if split == 1
    }
    found = {example.name for example, is_held_out in material.train_examples(raw) if is_held_out}
    trained = {example.name for example in material.training(raw, None).examples}
    assert found == expected
    assert found
    assert len(trained) == 30 - len(found)
    assert not found & trained


def test_scenes_on_disk_do_not_depend_on_the_number_of_processes_and_are_made_once(
    raw, tmp_path, monkeypatch
):
    counts = []
    with Workers(2) as two:
        many = scene_files.build(tmp_path / "two", 70, 1, raw, None, two, counts.append)
    with Workers(1) as one:
        few = scene_files.build(tmp_path / "one", 70, 1, raw, None, one, lambda _: None)
        monkeypatch.setattr(scene_files, "compose", lambda *_: pytest.fail("composed again"))
        again = scene_files.build(tmp_path / "one", 70, 1, raw, None, one, lambda _: None)
    assert sum(counts) == 70
    for other in (few, again):
        np.testing.assert_array_equal(many.images, other.images)
        np.testing.assert_array_equal(many.boxes, other.boxes)


def test_a_folder_without_boxes_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "train" / "a.png")
    (tmp_path / "train" / "labels.csv").write_text("file,label\na.png,12\n")
    with pytest.raises(InputError, match="no photo with a box"):
        material.training(tmp_path, None)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_pasted_number_has_the_share_asked_for_and_lies_where_its_box_says(share):
    scene = Image.new("RGB", (800, 600), (0, 0, 200))
    made = large_scenes.pasted(np.random.default_rng(0), scene, red_number(), share)
    assert made.box.right - made.box.left == pytest.approx(800 * share, abs=1)
    pixels = np.asarray(made.photo, int)
    is_red = pixels[..., 0] > 180
    rows, columns = np.flatnonzero(is_red.any(axis=1)), np.flatnonzero(is_red.any(axis=0))
    np.testing.assert_allclose(
        [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], made.box, atol=2
    )
    assert (np.asarray(scene)[0, 0] == (0, 0, 200)).all()


def test_empty_scenes_and_covering_photos_have_the_size_asked_for():
    assert large_scenes.empty(np.random.default_rng(0), (400, 300)).size == (400, 300)
    wide = Image.new("RGB", (300, 50))
    assert large_scenes.covering(wide, (400, 300)).size == (400, 300)
