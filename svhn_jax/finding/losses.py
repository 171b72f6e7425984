"""What each cell of the finder's map should say, and the loss of what it says."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from svhn_jax.finding.config import STRIDE
from svhn_jax.finding.network import Maps, cell_centers

# Pixels. The network must find numbers of this size on a canvas. The pyramid halves its scale from level to level, so
# each number has such a size on two levels.
SIZES = (10.0, 40.0)
# Pixels. Numbers outside SIZES up to this size are ignored: they count neither as numbers nor as background. Larger ones
# are background.
LARGEST_UNSURE = 56.0
CENTRAL = 0.25  # of the box's sides: cells no farther than this from its centre are positive
LEAST_VISIBLE = 0.8  # of the box's area; a number of which the window shows less is ignored
BOX_WEIGHT = (
    2.0  # of the box's loss beside the score's (Tian et al. 2019 take 1, Li et al. 2020 take 2)
)


class Targets(NamedTuple):
    """bool[B, h, w]: cells that must find the number; cells that the loss ignores."""

    is_positive: jax.Array
    is_ignored: jax.Array


def targets(boxes: jax.Array, height: int, width: int) -> Targets:
    """The targets of maps of h x w cells for boxes float32[B, 4], the one number of each window; NaN: there is none."""
    low, high = boxes[:, None, None, :2], boxes[:, None, None, 2:]
    centers = cell_centers(height, width)
    sides = high - low
    reach = jnp.maximum(CENTRAL * sides, STRIDE / 2)  # at least one cell has its centre so near
    is_central = (jnp.abs(centers - (low + high) / 2) <= reach).all(-1)
    is_inside = ((centers >= low) & (centers <= high)).all(-1) | is_central
    size = jnp.maximum(sides[..., 1], sides[..., 0] / 2)
    ends = jnp.array([width, height]) * STRIDE
    visible = jnp.clip(jnp.minimum(high, ends) - jnp.maximum(low, 0), 0).prod(-1) / sides.prod(-1)
    is_wanted = (size >= SIZES[0]) & (size <= SIZES[1]) & (visible >= LEAST_VISIBLE)
    is_unsure = ~is_wanted & (size <= LARGEST_UNSURE)  # NaN compares as false
    return Targets(is_central & is_wanted, is_inside & is_unsure)


def loss(maps: Maps, boxes: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sums over windows and cells: the scores' loss, the boxes' loss, the number of positive cells.

    The score of a positive cell shall be the IoU of its box with the number's, of a negative one 0 (quality focal loss,
    Li et al. 2020, arXiv:2006.04388, with its beta of 2): so the scores of all levels of a pyramid can be compared.
    The boxes' loss is 1 - GIoU (Rezatofighi et al. 2019, arXiv:1902.09630).
    """
    found = targets(boxes, *maps.logits.shape[1:])
    truth = jnp.nan_to_num(boxes)[:, None, None]
    overlap, generalized = _iou(maps.boxes, truth)
    quality = jax.lax.stop_gradient(jnp.where(found.is_positive, overlap, 0))
    score = jax.nn.sigmoid(maps.logits)
    cross_entropy = jnp.logaddexp(maps.logits, 0) - quality * maps.logits
    focal = jnp.where(found.is_ignored, 0, (quality - score) ** 2 * cross_entropy)
    box = jnp.where(found.is_positive, 1 - generalized, 0)
    return focal.sum(), box.sum(), found.is_positive.sum()


def _iou(boxes: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
    """IoU and generalized IoU of boxes [..., 4]."""
    low, high = (
        jnp.maximum(boxes[..., :2], others[..., :2]),
        jnp.minimum(boxes[..., 2:], others[..., 2:]),
    )
    shared = jnp.clip(high - low, 0).prod(-1)
    total = _area(boxes) + _area(others) - shared
    around_low, around_high = (
        jnp.minimum(boxes[..., :2], others[..., :2]),
        jnp.maximum(boxes[..., 2:], others[..., 2:]),
    )
    around = jnp.clip(around_high - around_low, 0).prod(-1)
    overlap = shared / jnp.maximum(total, 1e-6)
    return overlap, overlap - (around - total) / jnp.maximum(around, 1e-6)


def _area(boxes: jax.Array) -> jax.Array:
    return jnp.clip(boxes[..., 2:] - boxes[..., :2], 0).prod(-1)
