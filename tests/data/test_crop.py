"""Crops, on photos whose every pixel tells where it came from."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from svhn_jax.data import crop


def place_photo(width: int, height: int) -> Image.Image:
    """A photo whose red is the column, green the row."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8))


def box(left: float, top: float, width: float, height: float) -> crop.Box:
    return crop.Box(left, top, left + width, top + height)


def test_union_ends_at_the_greatest_right_edge_not_that_of_the_last_to_start():
    boxes = np.array(
        [[10.0, 5, 20, 10], [12, 2, 3, 30]]
    )  # the first ends at 30, the second, starting later, at 15
    assert crop.union(boxes) == (10, 2, 30, 32)


def test_expand_grows_about_the_centre_by_the_share_of_each_side():
    assert crop.expand(crop.Box(10, 20, 30, 60), 0.3) == pytest.approx((7, 14, 33, 66))
    assert crop.expand(crop.Box(10, 20, 30, 60), 0.0) == (10, 20, 30, 60)


def test_a_crop_of_its_own_size_copies_the_boxed_pixels():
    photo = place_photo(60, 50)
    boxes = np.array([[11.0, 9, 6, 16], [17, 10, 10, 12]])  # union 11 ... 27 x 9 ... 25
    image = crop.crop_number(photo, crop.union(boxes), margin=0.0, size=16)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.asarray(photo)[9:25, 11:27])


@pytest.mark.parametrize(
    ("place", "columns", "rows"),
    [
        # 8 x 8 grown by 100 % to 16 x 16: from 4 before the box to 4 after it
        ([0, 0, 8, 8], [0] * 4 + list(range(12)), [0] * 4 + list(range(12))),
        ([22, 12, 8, 8], list(range(18, 30)) + [29] * 4, list(range(8, 20)) + [19] * 4),
        ([-2, 5, 8, 8], [0] * 6 + list(range(10)), list(range(1, 17))),
    ],
    ids=["top left corner", "bottom right corner", "box itself off the left edge"],
)
def test_a_crop_that_leaves_the_photo_repeats_its_edge_and_keeps_the_number_centred(
    place, columns, rows
):
    photo = place_photo(30, 20)
    image = crop.crop_number(photo, box(*place), margin=1.0, size=16)
    np.testing.assert_array_equal(image[..., 0], np.tile(columns, (16, 1)))
    np.testing.assert_array_equal(image[..., 1], np.tile(rows, (16, 1)).T)


def test_without_a_box_the_whole_photo_is_taken_without_a_margin():
    assert crop.union(np.zeros((0, 4))) is None
    image = crop.crop_number(place_photo(16, 16), None, margin=0.3, size=16)
    np.testing.assert_array_equal(image, np.asarray(place_photo(16, 16)))


@pytest.mark.parametrize(
    "place", [[-9, 5, 9, 8], [30, 5, 4, 8], [5, -8, 9, 8], [5, 20, 9, 8], [1e6, 5, 9, 8]]
)
def test_boxes_outside_the_photo_are_refused_with_its_size(place):
    with pytest.raises(ValueError, match="outside the photo of 30 x 20 pixels"):
        crop.crop_number(place_photo(30, 20), box(*place), margin=0.3, size=16)


def test_a_huge_box_is_cut_off_at_one_photo_size_beyond_each_edge():
    photo = Image.new("RGB", (300, 200))
    photo.paste((200, 200, 200), (150, 0, 300, 200))
    image = crop.crop_number(photo, box(0, 0, 1e6, 1e6), margin=0.0, size=64)
    # the left half of the photo is the first quarter of the crop
    assert (image[:, :14] == 0).all()
    assert (image[:, 18:] == 200).all()


def test_a_huge_box_in_a_giant_photo_costs_less_than_twice_its_pixels(monkeypatch):
    columns, rows = np.meshgrid(np.linspace(0, 255, 3000), np.linspace(0, 255, 2000))
    photo = Image.fromarray(np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8))
    huge = box(500, -300, 1e6, 1e6)
    whole = crop.crop_number(photo, huge, margin=0.0, size=32)
    monkeypatch.setattr(crop, "MAX_PIXELS", 2**22)
    tracemalloc.start()
    reduced = crop.crop_number(photo, huge, margin=0.0, size=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.abs(reduced.astype(int) - whole).max() <= 2
    assert peak < 2 * 3000 * 2000 * 3
