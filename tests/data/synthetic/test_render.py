"""Synthetic photos: what a photo depends on, what its number is, where its boxes lie."""

from collections import Counter

import numpy as np
import pytest

from svhn_jax.data.synthetic import camera, render, typesetting


def test_a_photo_depends_on_seed_split_and_number_alone():
    def photo(seed, split, number):
        return render.render(render.photo_rng(seed, split, number), split).photo.tobytes()

    assert photo(0, "train", 62) == photo(0, "train", 62)
    others = [(0, "train", 1), (0, "train", 2), (1, "train", 1), (0, "test", 1), (0, "extra", 1)]
    assert len({photo(*other) for other in others}) == len(others)


def test_every_split_has_its_own_mix_of_lengths():
    rng = np.random.default_rng(0)
    # published: 106,789 of extra's 202,353 have three digits, 2,081 of test's 13,068
    for split, share in (("extra", 0.528), ("test", 0.159)):
        lengths = Counter(len(typesetting.draw_digits(rng, split)) for _ in range(4000))
        assert lengths[3] / 4000 == pytest.approx(share, abs=0.024)


def test_with_more_than_the_published_five_digits_every_length_is_as_probable():
    rng = np.random.default_rng(0)
    lengths = Counter(len(typesetting.draw_digits(rng, "test", 8)) for _ in range(8000))
    assert sorted(lengths) == list(range(1, 9))
    assert all(
        count / 8000 == pytest.approx(1 / 8, abs=0.011) for count in lengths.values()
    )  # 3 sigma


@pytest.mark.parametrize("max_digits", [1, 4])
def test_fewer_digits_in_the_label_change_no_photo(max_digits):
    fewer, usual = (
        typesetting.draw_digits(np.random.default_rng(7), "extra", *rest)
        for rest in ((max_digits,), ())
    )
    assert fewer == usual
    one, other = (
        render.render(np.random.default_rng(7), "extra", *rest) for rest in ((max_digits,), ())
    )
    assert one.photo.tobytes() == other.photo.tobytes()


def test_lengths_and_first_digits_follow_their_laws():
    rng = np.random.default_rng(0)
    numbers = [typesetting.draw_digits(rng) for _ in range(4000)]
    lengths = Counter(map(len, numbers))
    # published shares of train: 5137, 18130, 8691, 1434 and 9 of 33401; 3 sigma of 4000 draws is
    # at most 0.024
    for length, share in ((1, 0.154), (2, 0.543), (3, 0.260), (4, 0.043), (5, 0.0003)):
        assert lengths[length] / 4000 == pytest.approx(share, abs=0.024)
    # published: 27.67 % of the first digits are 1, 4.34 % are 9; 12.2 % of the later ones are 0,
    # 8.05 % are 9
    firsts = Counter(digits[0] for digits in numbers)
    assert firsts[0] == 0
    assert firsts[1] / 4000 == pytest.approx(0.277, abs=0.024)
    assert firsts[9] / 4000 == pytest.approx(0.043, abs=0.024)
    later = Counter(digit for digits in numbers for digit in digits[1:])
    assert later[0] / later.total() == pytest.approx(0.122, abs=0.015)
    assert later[9] / later.total() == pytest.approx(0.080, abs=0.015)
    assert {digit for digits in numbers for digit in digits[1:]} == set(range(10))


def test_boxes_follow_the_ink_through_the_perspective():
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        mask, flat = typesetting.typeset(rng, (4, 0, 7), 40.0)
        matrix = np.array([[1, 0, 60], [0, 1, 60], [0, 0, 1]]) @ camera.homography(
            rng, 1.0, 0.6, 90.0
        )
        boxes = camera.project_boxes(matrix, flat)
        size = tuple(int(side) + 20 for side in boxes[:, 2:].max(axis=0))
        ink = np.asarray(camera.view(mask, matrix, size), float)
        boxed = np.zeros(ink.shape, bool)
        for left, top, right, bottom in np.maximum(boxes, 0).astype(int).tolist():
            part = np.s_[top : bottom + 1, left : right + 1]
            boxed[part] = True
            assert ink[part].mean() > 0.05 * 255  # every box has a digit in it
        shares.append(ink[boxed].sum() / ink.sum())
    assert min(shares) > 0.8
    assert np.mean(shares) > 0.97


@pytest.mark.parametrize("digits", [(7,), (1, 1), (3, 0, 8), (2, 9, 4, 5)])
def test_set_digits_lie_in_their_boxes_in_reading_order(digits):
    for seed in range(20):
        mask, boxes = typesetting.typeset(np.random.default_rng(seed), digits, 40.0)
        ink = np.asarray(mask, float)
        assert len(boxes) == len(digits)
        outside = ink.copy()
        for left, top, right, bottom in boxes.astype(int).tolist():
            grown = np.s_[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3]
            assert ink[grown].max() > 200
            outside[grown] = 0
        assert outside.sum() < 0.02 * ink.sum()
        steps = np.diff(boxes[:, :2], axis=0)
        assert (steps.max(axis=1) > 0).all()  # to the right or down


def test_a_photo_shows_its_number():
    """Inside the boxes a photo varies more than elsewhere, most of the time."""
    busier = 0
    for seed in range(100):
        photo, _, boxes = render.render(np.random.default_rng(seed))
        grey = np.asarray(photo.convert("L"), float)
        edges = np.abs(np.diff(grey, axis=1))
        boxed = np.zeros(edges.shape, bool)
        for left, top, width, height in boxes:
            boxed[max(0, top) : top + height, max(0, left) : left + width] = True
        busier += edges[boxed].mean() > edges[~boxed].mean()
    assert busier >= 85
