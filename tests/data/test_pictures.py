"""Sheets and pictures: captions are not cut in silence, and no number is covered."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from svhn_jax import labels
from svhn_jax.data import pictures
from svhn_jax.data.crop import Box

NOISE = np.random.default_rng(0).integers(0, 256, (70, 140, 3), np.uint8)


@pytest.mark.parametrize(
    ("number", "name", "caption"),
    [
        ("12", "train/7.png", "12  train/7.png"),
        (
            "12345+",
            "train/a long folder/door number 12 in the old town.jpg",
            "12345+  …e old town.jpg",
        ),
    ],
)
def test_a_caption_that_is_too_long_keeps_the_end_of_the_name_and_marks_the_cut(
    number, name, caption
):
    font = ImageFont.load_default(12)
    assert pictures.caption(number, name, 136, font) == caption
    assert font.getlength(caption) <= 136


def test_a_box_is_drawn_outside_the_number_it_marks():
    boxes = np.array([[20.0, 10, 12, 30], [32, 12, 12, 30]])  # touch each other
    plain, marked = (
        np.asarray(pictures.tile(Image.fromarray(NOISE), some)) for some in (boxes[:0], boxes)
    )
    assert (plain != marked).any()
    for left, top, width, height in boxes.astype(
        int
    ):  # a tile of 140 pixels; the photo lies 35 below its top
        inside = np.s_[35 + top : 35 + top + height + 1, left : left + width + 1]
        assert (plain[inside] == marked[inside]).all()


def test_a_skipped_photo_is_dimmed_and_says_why():
    box = np.array([[20.0, 10, 12, 30]])
    kept = pictures.tile(Image.fromarray(NOISE), box)
    skipped = pictures.tile(Image.fromarray(NOISE), box, skipped="its boxes lie outside the photo")
    other = pictures.tile(Image.fromarray(NOISE), box, skipped="a second photo of that name")
    assert np.asarray(skipped)[70:].mean() < 0.6 * np.asarray(kept)[70:].mean()
    assert np.asarray(skipped).tobytes() != np.asarray(other).tobytes()


@pytest.mark.parametrize("max_digits", [1, 5, 8, 20])
@pytest.mark.parametrize("is_nothing_read", [True, False])
def test_a_reading_and_its_label_stay_below_their_own_picture(max_digits, is_nothing_read):
    truth = labels.encode_text("4" * 21, max_digits)
    reading = labels.encode([] if is_nothing_read else [0] * 21, max_digits)
    images = np.zeros((2, 24, 24, 3), np.uint8)
    sheet = np.asarray(
        pictures.contact_sheet(images, np.stack([truth] * 2), np.stack([reading] * 2), columns=2)
    )
    half = sheet.shape[1] // 2
    assert half == pictures.TILE if max_digits <= 5 else half > pictures.TILE
    assert sheet.any()
    assert not sheet[:, half - 1].any()
    assert (
        sheet[:, :half] == sheet[:, half:]
    ).all()  # the first caption does not run into the second


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
