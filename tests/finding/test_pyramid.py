import numpy as np
import pytest
from PIL import Image

from svhn_jax.finding import pyramid

SIZES = [(92, 53), (53, 92), (1, 1), (3, 400), (400, 3), (1024, 768), (4000, 3000), (3000, 4000)]


@pytest.mark.parametrize("size", SIZES)
def test_canvases_of_a_group_have_one_shape_divisible_by_8(size):
    for group in pyramid.levels(Image.new("RGB", size)):
        [shape] = {level.canvas.shape for level in group}
        assert shape[0] % 8 == shape[1] % 8 == 0
        assert group[0].canvas.dtype == np.uint8


def test_a_small_photo_is_not_enlarged_much_and_a_large_one_needs_all_canvases():
    def sides(size):
        return [max(group[0].canvas.shape) for group in pyramid.levels(Image.new("RGB", size))]

    assert sides((20, 10)) == [128]
    assert sides((4000, 3000)) == [side for side, _ in pyramid.CANVASES]


@pytest.mark.parametrize("size", [(640, 480), (300, 900)])
def test_every_level_has_the_photo_in_its_upper_left_corner(size):
    photo = Image.new("RGB", size, "black")
    photo.paste("white", (size[0] // 2, 0, size[0], size[1]))
    for group in pyramid.levels(photo):
        for level in group:
            width, height = np.rint(np.array(size) * level.scale).astype(int)
            assert level.canvas[: height - 1, : width // 2 - 2].max() < 40
            assert level.canvas[: height - 1, width // 2 + 2 : width - 1].min() > 215
            assert (level.canvas[height:] == pyramid.GREY).all()
