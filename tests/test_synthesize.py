"""Synthetic photos: what a photo depends on, where its boxes lie, and the archives."""

import sys
import tarfile
from collections import Counter

import numpy as np
import pytest
from archives import MAT, assert_one_error_line, contents, run_python, tree, write_split

from svhn_jax import synthesize
from svhn_jax.data import render
from svhn_jax.data.photos import SplitSource, decode_photo
from svhn_jax.errors import InputError

TRAIN_PHOTOS = 70  # more than one chunk of 64, so that two processes share them


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command makes with two processes."""
    folder = tmp_path_factory.mktemp("raw")
    finished = run_python(
        "-m", "svhn_jax.synthesize", "--to", folder, "--train", TRAIN_PHOTOS, "--test", 3, "--jobs", 2
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return folder


def test_the_archives_have_the_published_layout_and_nothing_lies_beside_them(made):
    assert sorted(path.name for path in made.iterdir()) == ["test.tar.gz", "train.tar.gz"]
    with tarfile.open(made / "test.tar.gz") as archive:
        assert archive.getnames() == ["test/1.png", "test/2.png", "test/3.png", f"test/{MAT}"]


def test_every_photo_has_its_record_and_boxes_on_the_photo(made):
    source = SplitSource(made, "train")
    records, photos = source.records(), list(source.photos())
    assert [record.name for record in records] == [photo.name for photo in photos]
    assert [record.name for record in records] == [f"{i}.png" for i in range(1, TRAIN_PHOTOS + 1)]
    for record, photo in zip(records, photos, strict=True):
        height, width = decode_photo(photo.content).shape[:2]
        assert 1 <= len(record.digits) == len(record.boxes)
        assert (record.boxes[:, 2:] >= 2).all()
        low = record.boxes[:, :2].min(axis=0)
        high = (record.boxes[:, :2] + record.boxes[:, 2:]).max(axis=0)
        on_photo = np.prod(np.minimum(high, (width, height)) - np.maximum(low, 0))
        assert on_photo > 0.6 * np.prod(high - low)


def test_the_archive_is_the_same_byte_for_byte_with_one_process(made, tmp_path):
    synthesize.write_archive(tmp_path / "train.tar.gz", "train", TRAIN_PHOTOS, seed=0, jobs=1)
    assert (tmp_path / "train.tar.gz").read_bytes() == (made / "train.tar.gz").read_bytes()


def test_a_photo_depends_on_seed_split_and_number_alone(made):
    photos = {photo.name: photo.content for photo in SplitSource(made, "train").photos()}
    for number in (TRAIN_PHOTOS, 1, 64):  # whatever was drawn before it
        assert synthesize._photo("train", 0, number)[1] == photos[f"{number}.png"]
    others = [("train", 0, 1), ("train", 0, 2), ("train", 1, 1), ("test", 0, 1)]
    assert len({synthesize._photo(*other)[1] for other in others}) == len(others)


def test_lengths_and_first_digits_follow_their_laws():
    rng = np.random.default_rng(0)
    numbers = [render.draw_digits(rng) for _ in range(4000)]
    lengths = Counter(map(len, numbers))
    # published shares of train: 5137, 18130, 8691, 1434 and 9 of 33401; 3 sigma of 4000 draws is at most 0.024
    for length, share in ((1, 0.154), (2, 0.543), (3, 0.260), (4, 0.043), (5, 0.0003)):
        assert lengths[length] / 4000 == pytest.approx(share, abs=0.024)
    firsts = Counter(digits[0] for digits in numbers)
    assert firsts[0] == 0
    assert firsts[1] / 4000 == pytest.approx(0.301, abs=0.024)
    assert firsts[9] / 4000 == pytest.approx(0.046, abs=0.024)
    assert {digit for digits in numbers for digit in digits[1:]} == set(range(10))


def test_boxes_follow_the_ink_through_warp_and_camera():
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        mask, boxes = render._typeset(rng, "407")
        mask, boxes = render._warp(rng, mask, boxes, 0.6)
        mask, boxes = render._turn_camera(rng, mask, boxes, mask.size)
        ink = np.asarray(mask, float)
        boxed = np.zeros(ink.shape, bool)
        for left, top, width, height in boxes:
            part = np.s_[max(0, int(top)) : int(top + height) + 1, max(0, int(left)) : int(left + width) + 1]
            boxed[part] = True
            assert ink[part].mean() > 0.1 * 255  # every box has a digit in it
        shares.append(ink[boxed].sum() / ink.sum())
    assert min(shares) > 0.8
    assert np.mean(shares) > 0.97


def test_a_photo_shows_its_number():
    """Inside the boxes a photo varies more than elsewhere, most of the time."""
    busier = 0
    for seed in range(40):
        photo, _, boxes = render.render(np.random.default_rng(seed))
        grey = np.asarray(photo.convert("L"), float)
        edges = np.abs(np.diff(grey, axis=1))
        boxed = np.zeros(edges.shape, bool)
        for left, top, width, height in boxes:
            boxed[max(0, top) : top + height, max(0, left) : left + width] = True
        busier += edges[boxed].mean() > edges[~boxed].mean()
    assert busier >= 34


def make(monkeypatch, to, **options):
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["synthesize", "--to", str(to), *arguments])
    synthesize.main()


def test_a_second_run_touches_nothing(made):
    before = tree(made)
    finished = run_python("-m", "svhn_jax.synthesize", "--to", made, "--train", TRAIN_PHOTOS, "--test", 3)
    assert finished.returncode == 0
    assert finished.stdout.count("is up to date") == 2
    assert tree(made) == before


@pytest.fixture
def inline_pool(monkeypatch):
    """Renders in this process: starting another costs a second."""

    class Pool:
        def __init__(self, jobs, initializer):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def imap(self, function, items, chunksize):
            return map(function, items)

    monkeypatch.setattr(synthesize.multiprocessing, "get_context", lambda _: type("Context", (), {"Pool": Pool}))


def test_another_count_or_seed_makes_the_archive_anew(tmp_path, monkeypatch, inline_pool):
    made = []
    for options in ({"test": 2}, {"test": 3}, {"test": 3, "seed": 1}):
        make(monkeypatch, tmp_path, train=0, **options)
        made.append(contents(tmp_path))
    assert [list(files) for files in made] == [["test.tar.gz"]] * 3
    assert len({files["test.tar.gz"] for files in made}) == 3


def test_a_run_that_is_interrupted_leaves_what_stood_there(tmp_path, monkeypatch, inline_pool):
    make(monkeypatch, tmp_path, train=2, test=0)
    before = contents(tmp_path)
    added = []

    def interrupt(archive, name, content):
        added.append(name)
        if len(added) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(synthesize, "_add", interrupt)
    for split, options in (("train", {"train": 5, "test": 0}), ("test", {"train": 0, "test": 5})):
        added.clear()
        with pytest.raises(KeyboardInterrupt):
            make(monkeypatch, tmp_path, **options)
        assert added == [f"{split}/{i}.png" for i in (1, 2, 3)]
        assert contents(tmp_path) == before


def test_an_archive_of_anothers_making_is_refused_and_kept(tmp_path, monkeypatch, inline_pool):
    write_split(tmp_path, "test", {"1.png": b"of the published test split"})
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"test\.tar\.gz"):
        make(monkeypatch, tmp_path, train=0, test=2)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": -1}, "--train is -1; it must be at least 0"),
        ({"test": -1}, "--test is -1; it must be at least 0"),
        ({"seed": -1}, "--seed is -1; it must be at least 0"),
        ({"jobs": 0}, "--jobs is 0; it must be at least 1"),
        ({"train": 0, "test": 0}, "nothing to make"),
    ],
)
def test_a_bad_option_is_named(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        synthesize.Options(to=tmp_path, **options)


def test_a_bad_option_is_one_line_on_stderr(tmp_path):
    finished = run_python("-m", "svhn_jax.synthesize", "--to", tmp_path / "raw", "--jobs", 0)
    assert_one_error_line(finished)
    assert not (tmp_path / "raw").exists()
