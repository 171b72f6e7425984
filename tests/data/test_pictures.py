"""Sheets and pictures: captions are not cut in silence, and no number is covered."""

import numpy as np
import pytest
from PIL import Image

from svhn_jax import labels
from svhn_jax.data import pictures
from svhn_jax.data.crop import Box


def test_a_name_that_is_too_long_keeps_its_end_and_marks_the_cut():
    name = "train/a long folder/door number 12 in the old town.jpg"
    assert pictures.short(name) == "… 12 in the old town.jpg"
    assert pictures.short("train/7.png") == "train/7.png"


@pytest.mark.parametrize("max_digits", [1, 5, 20])
@pytest.mark.parametrize("is_nothing_read", [True, False])
def test_a_reading_and_its_label_stay_below_their_own_picture(max_digits, is_nothing_read):
    truth = labels.encode_text("4" * 21, max_digits)
    reading = labels.encode([] if is_nothing_read else [0] * 21, max_digits)
    images, truths, readings = np.zeros((2, 24, 24, 3), np.uint8), [truth] * 2, [reading] * 2
    drawn = pictures.contact_sheet(images, np.stack(truths), np.stack(readings), columns=2)
    sheet, half = np.asarray(drawn), drawn.width // 2
    assert sheet.any()
    assert half >= pictures.TILE
    assert not sheet[:, half - 1].any()
    assert (sheet[:, :half] == sheet[:, half:]).all()


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((92, 53), (640, 425)), ((4032, 3024), (1600, 1256)), ((1, 3000), (480, 1656))],
)
def test_a_picture_is_of_a_size_to_be_looked_at(size, drawn):
    photo = Image.new("RGB", size)
    assert pictures.annotated(photo, None, "102", "", "a", color=pictures.RIGHT).size == drawn


def test_a_box_is_drawn_around_the_number_and_the_strip_holds_the_text():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 800, 3), np.uint8))
    plain, marked = (
        np.asarray(pictures.annotated(photo, box, "102", "98 %", "a", color=pictures.RIGHT))
        for box in (None, Box(100, 50, 300.5, 200))
    )
    differing = (plain != marked).any(axis=2)
    assert differing.any()
    assert not differing[50:200, 100:301].any()
    assert not differing[:40].any()
    assert (marked[400:] == pictures.RIGHT).all(axis=2).any()
