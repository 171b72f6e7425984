"""Targets and loss of the finder, per cell of its map."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from svhn_jax.finding.network import CLASSES, STRIDE, Maps, cell_centers

# Pixels, of a digit's longer side. Digits of this size must be found; the pyramid shows each on
# two levels or more. Others up to LARGEST_UNSURE are ignored; larger ones are background.
SIZES, LARGEST_UNSURE = (10.0, 34.0), 46.0
# Shares of the box's sides: cells up to CENTRAL are positive, those up to NEAR are ignored.
CENTRAL, NEAR = 0.25, 0.35
LEAST_VISIBLE = 0.75  # of the box's area; a digit of which the window shows less is ignored
SMOOTHING = 0.02  # of the classes
WEIGHTS = {"presence": 2.0, "class": 1.0, "box": 2.0}


class Targets(NamedTuple):
    """bool[B, h, w]: must find a digit, is ignored by the loss; int32[B, h, w]: which digit."""

    is_positive: jax.Array
    is_ignored: jax.Array
    digit: jax.Array


def targets(digits: jax.Array, height: int, width: int) -> Targets:
    """Targets of maps of h x w cells; digits: float32[B, M, 5] as of `scenes.Scene`."""
    boxes, centers = digits[:, :, None, None, :4], cell_centers(height, width)
    low, high = boxes[..., :2], boxes[..., 2:]
    sides = high - low
    away = jnp.abs(centers - (low + high) / 2)
    # NaN compares as false.
    is_central = (away <= jnp.maximum(CENTRAL * sides, STRIDE / 2 + 0.01)).all(-1)
    is_inside = (away <= sides / 2).all(-1) | is_central
    size, ends = sides.max(-1), jnp.array([width, height]) * STRIDE
    visible = jnp.clip(jnp.minimum(high, ends) - jnp.maximum(low, 0), 0).prod(-1) / sides.prod(-1)
    is_wanted = (size >= SIZES[0]) & (size <= SIZES[1]) & (visible >= LEAST_VISIBLE)
    is_near = (away <= NEAR * sides).all(-1)
    is_unsure = (~is_wanted & (size <= LARGEST_UNSURE)) | (is_wanted & is_near)
    distance = jnp.where(is_central & is_wanted, jnp.square(away / sides).sum(-1), jnp.inf)
    is_positive = (is_central & is_wanted).any(1)
    return Targets(is_positive, (is_inside & is_unsure).any(1) & ~is_positive, distance.argmin(1))


def loss(maps: Maps, digits: jax.Array) -> dict[str, jax.Array]:
    """Sums over windows and cells: the losses of WEIGHTS, positive "cells", "right" classes.

    The presence of a positive cell is to be the IoU of its box with the digit's, of another cell 0
    (quality focal loss, Li et al. 2020, arXiv:2006.04388, with its beta of 2): so the levels of a
    pyramid can be compared. A box's loss is 1 - GIoU (Rezatofighi et al. 2019, arXiv:1902.09630).
    """
    batch, height, width = maps.presence.shape
    is_positive, is_ignored, which = targets(digits, height, width)
    truth = jnp.take_along_axis(jnp.nan_to_num(digits), which.reshape(batch, -1, 1), axis=1)
    truth = truth.reshape(batch, height, width, 5)
    overlap, generalized = _iou(maps.boxes, truth[..., :4])
    quality = jax.lax.stop_gradient(jnp.where(is_positive, overlap, 0))
    score = jax.nn.sigmoid(maps.presence)
    cross_entropy = jnp.logaddexp(maps.presence, 0) - quality * maps.presence
    one_hot = jax.nn.one_hot(truth[..., 4].astype(int), CLASSES)
    wanted = one_hot * (1 - SMOOTHING) + SMOOTHING / CLASSES
    log_p = jax.nn.log_softmax(maps.classes)

    def of_positive(value: jax.Array) -> jax.Array:
        return jnp.where(is_positive, value, 0).sum()

    return {
        "presence": jnp.where(is_ignored, 0, jnp.square(quality - score) * cross_entropy).sum(),
        "class": of_positive(-(log_p * wanted).sum(-1)),
        "box": of_positive(1 - generalized),
        "right": of_positive(log_p.argmax(-1) == truth[..., 4]).astype(jnp.float32),
        "cells": is_positive.sum().astype(jnp.float32),
    }


def total(sums: Mapping[str, Any]) -> Any:
    """The weighted sum of the losses."""
    return sum(weight * sums[name] for name, weight in WEIGHTS.items())


def _iou(boxes: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
    """IoU and generalized IoU of boxes [..., 4]."""
    lows, highs = (boxes[..., :2], others[..., :2]), (boxes[..., 2:], others[..., 2:])
    shared = _area(jnp.maximum(*lows), jnp.minimum(*highs))
    total = _area(boxes[..., :2], boxes[..., 2:]) + _area(others[..., :2], others[..., 2:]) - shared
    around = _area(jnp.minimum(*lows), jnp.maximum(*highs))
    overlap = shared / jnp.maximum(total, 1e-6)
    return overlap, overlap - (around - total) / jnp.maximum(around, 1e-6)


def _area(low: jax.Array, high: jax.Array) -> jax.Array:
    return jnp.clip(high - low, 0).prod(-1)
