"""Sheets and pictures: captions are not cut in silence, and no number is covered."""

import numpy as np
import pytest

from svhn_jax import labels
from svhn_jax.data import pictures


@pytest.mark.parametrize("max_digits", [1, 5, 20])
@pytest.mark.parametrize("is_nothing_read", [True, False])
def test_a_reading_and_its_label_stay_below_their_own_picture(max_digits, is_nothing_read):
    truth = labels.encode([4] * 21, max_digits)
    reading = labels.encode([] if is_nothing_read else [0] * 21, max_digits)
    images, truths, readings = np.zeros((2, 24, 24, 3), np.uint8), [truth] * 2, [reading] * 2
    drawn = pictures.contact_sheet(images, np.stack(truths), np.stack(readings), columns=2)
    sheet, half = np.asarray(drawn), drawn.width // 2
    assert sheet.any()
    assert half >= pictures.TILE
    assert not sheet[:, half - 1].any()
    assert (sheet[:, :half] == sheet[:, half:]).all()
