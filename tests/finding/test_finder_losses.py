import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svhn_jax.finding import losses
from svhn_jax.finding.network import Maps

NOTHING = [np.nan] * 4


def cells(box, kind="is_positive", side=12):
    """(x, y) of the cells of a map of 12 x 12, which are those of a window of 96 pixels."""
    mask = getattr(losses.targets(jnp.array([box], jnp.float32), side, side), kind)[0]
    return [(x, y) for y, x in np.argwhere(np.asarray(mask)).tolist()]


def test_the_cells_near_the_centre_find_a_number():
    # Centre (50, 50), sides of 20: a reach of 0.25 x 20 = 5. The cell centres 44, 52, 60: |52 - 50| = 2.
    assert cells([40, 40, 60, 60]) == [(6, 6)]
    # Sides of 32: a reach of 8. 44 and 52 are within, 36 and 60 are not.
    assert cells([34, 34, 66, 66]) == [(5, 5), (6, 5), (5, 6), (6, 6)]
    assert cells([40, 40, 60, 60], "is_ignored") == []


def test_every_number_in_the_range_has_a_cell():
    for x in np.arange(40, 48, 0.5):
        assert cells([x - 5, 40, x + 5, 50])


@pytest.mark.parametrize(
    ("box", "is_wanted", "is_asked"),
    [
        ([40, 40, 50, 50.5], True, True),
        (
            [40, 40, 48, 49],
            False,
            False,
        ),  # 9 pixels: too small here, found on the next larger level
        ([20, 20, 40, 61], False, False),  # 41 pixels high
        ([4, 40, 86, 60], False, False),  # 82 wide: as 41 high
        ([20, 10, 60, 67], False, True),  # 57 pixels: not a number at this scale
        ([86, 40, 106, 60], False, False),  # half of it beyond the window
        ([80, 40, 100, 60], True, True),  # a fifth of it
    ],
)
def test_what_is_asked_of_a_number(box, is_wanted, is_asked):
    assert bool(cells(box)) == is_wanted
    assert bool(cells(box, "is_ignored")) != is_asked


def test_of_a_scene_without_a_number_every_cell_is_asked_to_say_none():
    assert cells(NOTHING) == cells(NOTHING, "is_ignored") == []


def maps_of(logit, box=(40, 40, 60, 60)):
    return Maps(
        jnp.full((1, 12, 12), logit), jnp.broadcast_to(jnp.array(box, jnp.float32), (1, 12, 12, 4))
    )


def test_loss_by_hand():
    score, box, count = losses.loss(maps_of(0.0), jnp.array([NOTHING], jnp.float32))
    assert (float(box), int(count)) == (0, 0)
    assert float(score) == pytest.approx(
        144 * 0.25 * np.log(2), rel=1e-5
    )  # |0 - 0.5|^2 times -log(1 - 0.5)
    score, box, count = losses.loss(maps_of(0.0), jnp.array([[40, 40, 60, 60]], jnp.float32))
    assert int(count) == 1
    assert float(box) == pytest.approx(
        0, abs=1e-5
    )  # the boxes agree, so the score of cell (6, 6) shall be 1
    assert float(score) == pytest.approx(144 * 0.25 * np.log(2), rel=1e-5)
    # A box half as wide: IoU 0.5, the box around both is the number's, so GIoU is 0.5 too.
    score, box, _ = losses.loss(
        maps_of(0.0, (40, 40, 50, 60)), jnp.array([[40, 40, 60, 60]], jnp.float32)
    )
    assert float(box) == pytest.approx(0.5, abs=1e-5)
    assert float(score) == pytest.approx(
        143 * 0.25 * np.log(2), rel=1e-5
    )  # the cell's score is its IoU already


def test_giou_of_boxes_apart():
    # Sides of 10 with a gap of 10: the box around is 30 x 10, of which 100 lie in neither: GIoU = 0 - 100 / 300.
    _, box, _ = losses.loss(
        maps_of(0.0, (60, 40, 70, 50)), jnp.array([[40, 40, 50, 50]], jnp.float32)
    )
    assert float(box) == pytest.approx(1 + 1 / 3, abs=1e-4)


def test_gradients_are_finite_with_and_without_a_number():
    boxes = jnp.array([NOTHING, [40, 40, 60, 60]], jnp.float32)

    def total(logits, found):
        score, box, _ = losses.loss(Maps(logits, found), boxes)
        return score + box

    grads = jax.grad(total, argnums=(0, 1))(
        jnp.zeros((2, 12, 12)), jnp.ones((2, 12, 12, 4)) * jnp.array([1, 1, 2, 2.0])
    )
    assert all(bool(jnp.isfinite(one).all()) for one in grads)
