"""Single figures: their forms and their height."""

import numpy as np
import pytest

from svhn_jax.data.synthetic import figures, fonts

PLAIN = figures.Style(False, False, True, bar=0.8, diagonal=0.5, reach=0.3, drop=0.3)
FACES = [fonts.random_face(np.random.default_rng(seed)) for seed in range(12)]


def ink(face, digit, style):
    return np.asarray(figures.figure(face, digit, 60, style).mask) > 127


@pytest.mark.parametrize("digit", range(10))
def test_lining_figures_are_as_high_as_asked_and_tight(digit):
    for face in FACES:
        figure = figures.figure(face, digit, 60, PLAIN)
        assert figure.mask.height == pytest.approx(60, rel=0.1)
        assert figure.rise == pytest.approx(60, rel=0.1)
        filled = np.asarray(figure.mask) > 60
        assert filled[:2].any()
        assert filled[-2:].any()


def test_a_flat_three_has_a_bar_on_top_and_the_bowl_of_the_other():
    for face in FACES:
        flat, round_ = ink(face, 3, PLAIN._replace(flat_three=True)), ink(face, 3, PLAIN)
        assert flat.shape == round_.shape
        assert flat[0].mean() > 0.75  # the bar
        assert flat[0].sum() > round_[0].sum()
        assert (flat[-10:] == round_[-10:]).mean() > 0.85


def test_a_flagged_one_reaches_to_the_left():
    for face in FACES:
        flagged, plain = ink(face, 1, PLAIN._replace(flagged_one=True)), ink(face, 1, PLAIN)
        grown = flagged.shape[1] - plain.shape[1]
        assert grown >= 0
        assert (flagged[:, grown:] >= plain).all()  # nothing of the 1 is lost
        assert flagged.sum() > plain.sum()


def test_every_face_has_ten_different_digits_and_the_heavier_ones_come_more_often():
    files, sums = fonts._font_files()
    assert len(files) > 100
    assert sums[-1] == pytest.approx(1)
    for face in range(len(files)):
        assert (
            len({figures.figure(face, digit, 40, PLAIN).mask.tobytes() for digit in range(10)})
            == 10
        )


def test_every_weight_names_a_file():
    names = [item.name for item in fonts.resources.files(fonts).iterdir()]
    for word in fonts.WEIGHTS:
        assert any(name.startswith(word) for name in names), word
