import numpy as np
import pytest
from PIL import Image

from svhn_jax.finding import pyramid

SIZES = [
    (92, 53),
    (53, 92),
    (1, 1),
    (3, 400),
    (400, 3),
    (256, 256),
    (1024, 768),
    (4000, 3000),
    (3000, 4000),
    (5000, 700),
]


def all_levels(photo):
    return [level for group in pyramid.levels(photo) for level in group]


def photo_with(size, box, inside=255, outside=0):
    pixels = np.full((size[1], size[0], 3), outside, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = inside
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", SIZES)
def test_canvases_of_a_group_have_one_shape_divisible_by_8(size):
    for group in pyramid.levels(Image.new("RGB", size)):
        [shape] = {level.canvas.shape for level in group}
        assert shape[0] % 8 == shape[1] % 8 == 0
        assert group[0].canvas.dtype == np.uint8


def test_a_small_photo_needs_no_large_canvas_and_a_large_one_all():
    assert [
        [level.canvas.shape[:2] for level in group]
        for group in pyramid.levels(Image.new("RGB", (92, 53)))
    ] == [[(128, 128)] * 3]
    shapes = [group[0].canvas.shape[:2] for group in pyramid.levels(Image.new("RGB", (4000, 3000)))]
    assert shapes == [(128, 128), (256, 256), (384, 512), (768, 1024)]
    shapes = [group[0].canvas.shape[:2] for group in pyramid.levels(Image.new("RGB", (3000, 4000)))]
    assert shapes == [(128, 128), (256, 256), (512, 384), (1024, 768)]


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_canvas_part_maps_back_to_the_whole_photo(size):
    for level in all_levels(photo_with(size, (0, 0, *size))):
        is_photo = (level.canvas == 255).all(axis=-1)
        high, wide = (
            np.flatnonzero(is_photo.any(axis=1))[-1] + 1,
            np.flatnonzero(is_photo.any(axis=0))[-1] + 1,
        )
        assert is_photo[:high, :wide].all()
        assert (level.canvas[~is_photo] == pyramid.GREY).all()
        np.testing.assert_allclose(level.to_photo(np.array([[0, 0, wide, high]])), [[0, 0, *size]])


@pytest.mark.parametrize(
    ("size", "box"), [((92, 53), (30, 10, 60, 40)), ((1600, 1200), (400, 300, 1000, 900))]
)
def test_a_box_on_a_canvas_maps_back_to_its_place_in_the_photo(size, box):
    for level in all_levels(photo_with(size, box)):
        # The rows and columns of the canvas that the bright box covers, with shares of a pixel, from their sums.
        part = (
            level.canvas[: round(size[1] * level.scale[1]), : round(size[0] * level.scale[0]), 0]
            / 255
        )
        x, y = part.sum(axis=0) / part.sum(axis=0).max(), part.sum(axis=1) / part.sum(axis=1).max()
        found = [
            np.argmax(x > 0.5),
            np.argmax(y > 0.5),
            len(x) - np.argmax(x[::-1] > 0.5),
            len(y) - np.argmax(y[::-1] > 0.5),
        ]
        np.testing.assert_allclose(
            level.to_photo(np.array([found])), [box], atol=1 / min(level.scale)
        )


def test_no_level_is_larger_than_its_canvas_or_empty():
    for size in SIZES:
        for level in all_levels(Image.new("RGB", size)):
            wide, high = size[0] * level.scale[0], size[1] * level.scale[1]
            assert 1 <= round(wide) <= level.canvas.shape[1]
            assert 1 <= round(high) <= level.canvas.shape[0]
