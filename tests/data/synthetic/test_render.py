"""Synthetic photos: what a photo depends on, what its number is, where its boxes lie."""

from collections import Counter

import numpy as np
import pytest

from svhn_jax.data.synthetic import archive as synthetic_archive
from svhn_jax.data.synthetic import render


def test_a_photo_depends_on_seed_split_and_number_alone():
    def photo(seed, split, number):
        ((_, content),) = synthetic_archive.photo_files(seed, split, range(number, number + 1))
        return content

    together = synthetic_archive.photo_files(0, "train", range(60, 64))
    assert photo(0, "train", 62) == together[2][1]
    others = [(0, "train", 1), (0, "train", 2), (1, "train", 1), (0, "test", 1), (0, "extra", 1)]
    assert len({photo(*other) for other in others}) == len(others)


def test_every_split_has_its_own_mix_of_lengths():
    rng = np.random.default_rng(0)
    # published: 106,789 of extra's 202,353 have three digits, 2,081 of test's 13,068
    for split, share in (("extra", 0.528), ("test", 0.159)):
        lengths = Counter(len(render.draw_digits(rng, split)) for _ in range(4000))
        assert lengths[3] / 4000 == pytest.approx(share, abs=0.024)


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
