"""The loop that runs a compiled function on any number of rows, a batch at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


def in_batches(
    function: Callable[..., Any],
    columns: Sequence[np.ndarray],
    batch_size: int,
    advance: Callable[[int], object] = lambda count: None,
) -> list[Any]:
    """What a compiled function gives for each batch of rows, on the host; see `joined`.

        parts = in_batches(lambda images: forward(variables, images), [images], 256)
        logits = joined(parts, len(images))

    The last batch is padded with zeros. Each batch is dispatched before the result of the one
    before it is fetched.

    Args:
      function: takes a batch of each column; returns arrays on the device.
      columns: arrays of N rows each, N at least 1.
      advance: called with the number of rows of each batch once they are done.
    """
    total = len(columns[0])
    pending: Any = None
    parts = []
    for start in range(0, total, batch_size):
        batch = [column[start : start + batch_size] for column in columns]
        missing = batch_size - len(batch[0])
        if missing:
            batch = [np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for x in batch]
        dispatched = function(*batch)
        if pending is not None:
            parts.append(jax.device_get(pending))
            advance(batch_size)
        pending = dispatched
    parts.append(jax.device_get(pending))
    advance(total - (len(parts) - 1) * batch_size)
    return parts


def joined(parts: Sequence[Any], count: int) -> Any:
    """The trees of several batches as one, its arrays cut to `count` rows."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:count], *parts)
