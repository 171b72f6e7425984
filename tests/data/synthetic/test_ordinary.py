import numpy as np
import pytest
from PIL import Image

from svhn_jax.data.synthetic import camera, ordinary, palette, walls, words

GROUND = Image.new("RGB", (100, 100), (90, 120, 90))


def draw(seed, height=30.0, side=160):
    return ordinary.render(np.random.default_rng(seed), side, height, (80.0, 80.0), GROUND)


def test_a_photo_is_a_function_of_the_generator():
    (first, numbers), (second, _) = draw(1), draw(1)
    assert first.size == (160, 160)
    assert first.tobytes() == second.tobytes()
    assert len(numbers[0].digits) == len(numbers[0].boxes)


def test_numbers_of_all_lengths_rows_and_stacks_are_drawn_around_the_place_and_about_as_high():
    drawn = [draw(seed)[1][0] for seed in range(60)]
    assert {len(number.digits) for number in drawn} == {1, 2, 3, 4, 5}
    extents = np.array(
        [number.boxes[:, 2:].max(axis=0) - number.boxes[:, :2].min(axis=0) for number in drawn]
    )
    assert 6 < (extents[:, 1] > 1.5 * extents[:, 0]).sum() < 40
    middles = [(n.boxes[:, :2].min(axis=0) + n.boxes[:, 2:].max(axis=0)) / 2 for n in drawn]
    assert np.median(np.abs(np.array(middles) - 80)) < 8
    heights = [np.median(number.boxes[:, 3] - number.boxes[:, 1]) for number in drawn]
    assert 20 < np.median(heights) < 40


def test_boxes_fit_the_figures(monkeypatch):
    """Red figures, and nothing else red: no light, no relief, no wall of that colour."""
    monkeypatch.setattr(palette, "wall_color", lambda rng: (0, 60, 60))
    monkeypatch.setattr(palette, "figure_color", lambda rng: (255, 0, 0))
    monkeypatch.setattr(walls, "support", lambda *_: None)
    monkeypatch.setattr(camera, "light", lambda rng, pixels, unit: pixels)
    monkeypatch.setattr(camera, "focus", lambda rng, photo, *_, **__: photo)
    shares = []
    for seed in range(30):
        photo, numbers = draw(seed, 24.0)
        pixels, boxes = np.asarray(photo, int), np.concatenate([number.boxes for number in numbers])
        y, x = np.nonzero((pixels[..., 0] > 140) & (pixels[..., 1:].max(axis=2) < 90))
        if boxes.min() < 0 or boxes.max() > 160 or len(x) < 50 or len(numbers[0].digits) < 2:
            continue
        inside = [
            ((x >= b[0] - 4) & (x <= b[2] + 4) & (y >= b[1] - 4) & (y <= b[3] + 4)) for b in boxes
        ]
        shares.append(np.mean(np.any(inside, axis=0)))
    assert len(shares) > 5
    assert np.median(shares) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_walls_and_words_change_the_picture(seed):
    rng = np.random.default_rng(seed)
    wall = walls.wall(rng, (64, 48), (90, 90, 90), 20.0)
    assert wall.size == (64, 48)
    before = wall.tobytes()
    words.draw_words(rng, wall, (5.0, 5.0, 60.0, 40.0), (255, 255, 255))
    assert wall.tobytes() != before
