"""The finder that comes with the package, on synthetic photos; real photos: docs/finder.md."""

import numpy as np
import pytest
from PIL import Image

from svhn_jax.data.synthetic import ordinary
from svhn_jax.errors import InputError
from svhn_jax.finding.boxes import iou
from svhn_jax.inference.finder import MOST, Finder
from svhn_jax.inference.photo_reader import PRETRAINED

SIDE = 240


@pytest.fixture(scope="module")
def finder():
    return Finder()


def photos(count):
    """Photos of one number within them, that number's text and its box."""
    for seed in range(count):
        rng = np.random.default_rng([77, seed])
        ground = Image.new("RGB", (SIDE, SIDE), (120, 110, 100))
        photo, [number, *_] = ordinary.render(rng, SIDE, 30.0, (SIDE / 2, SIDE / 2), ground)
        yield photo, "".join(map(str, number.digits)), np.array([number.sides])


def test_most_numbers_are_found_and_many_are_read(finder):
    overlaps, right = [], []
    for photo, text, box in photos(20):
        best = next(iter(finder.find(photo)), None)
        overlaps.append(best is not None and iou(np.array([best.box]), box)[0, 0] > 0.5)
        right.append(best is not None and best.number == text)
    assert np.mean(overlaps) >= 0.7
    assert np.mean(right) >= 0.5


@pytest.mark.parametrize("color", ["black", "grey", "white"])
@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (64, 64)])
def test_a_photo_of_one_colour_has_no_number(finder, size, color):
    assert finder.find(Image.new("RGB", size, color)) == []


def test_candidates_are_few_and_within_the_photo(finder):
    for photo, _, _ in photos(4):
        found = finder.find(photo.crop((60, 60, 180, 150)))
        assert len(found) <= MOST
        for one in found:
            assert 0 <= one.box.left < one.box.right <= 120
            assert 0 <= one.box.top < one.box.bottom <= 90
            assert 0 < one.score <= 1
            assert len(one.digits) == len(one.number)


def test_a_run_of_another_network_is_refused():
    with pytest.raises(InputError, match="finder"):
        Finder(str(PRETRAINED))
