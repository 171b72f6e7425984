"""Finds the number in a whole photo: the finder's network on a pyramid of scales."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from svhn_jax.data.crop import Box
from svhn_jax.finding import boxes, network, pyramid, weights
from svhn_jax.model.settings import own_settings
from svhn_jax.training import compilation, devices

MOST = 5  # candidates of a photo
CONSIDERED = 64  # of a canvas: its best cells


class Candidate(NamedTuple):
    """A box that may hold the number, in pixels of the photo, within it; and its score: about the IoU expected with the true box."""

    box: Box
    score: float


class Finder:
    """A trained finder on one device.

        finder = Finder()
        candidates = finder.find(Image.open("door.jpg").convert("RGB"))  # best first; empty: no number

    A photo's result depends on the photo alone.
    """

    @own_settings()
    def __init__(self, folder: str | Path | weights.Trained | None = None):
        """Loads the weights of a folder (svhn_jax.train_finder), or takes trained ones; None: those that come with the project.

        Raises:
          InputError: there are none, or they are damaged.
        """
        trained = folder if isinstance(folder, weights.Trained) else weights.load(folder)
        self.least_score = trained.least_score
        self._variables = jax.device_put(trained.variables)
        net = network.build(trained.config)

        def best_cells(variables: Any, canvases: jax.Array) -> tuple[jax.Array, jax.Array]:
            applied: Any = net.apply(variables, network.normalized(canvases), False)
            maps = network.Maps(*applied)
            logits, cells = jax.lax.top_k(maps.logits.reshape(len(canvases), -1), CONSIDERED)
            found = jnp.take_along_axis(
                maps.boxes.reshape(len(canvases), -1, 4), cells[..., None], axis=1
            )
            return jax.nn.sigmoid(logits), found

        self._best_cells = jax.jit(
            best_cells, compiler_options=compilation.compiler_options(devices.make_mesh())
        )

    @own_settings()
    def find(self, photo: Image.Image, least_score: float | None = None) -> list[Candidate]:
        """The candidates of an upright RGB photo, at most MOST, best first; none where the best scores less than the least score.

        least_score: 0 to 1; None: the one chosen with the weights.
        """
        found, scores = self._cells(photo)
        merged, kept = boxes.merge(found, scores, MOST)
        least = self.least_score if least_score is None else least_score
        if not len(kept) or kept[0] < least:
            return []
        within = np.clip(
            merged, 0, (*photo.size, *photo.size)
        )  # a mean of boxes may be rounded out of the photo
        return [
            Candidate(Box(*row), score)
            for row, score in zip(within.tolist(), kept.tolist(), strict=True)
        ]

    def _cells(self, photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """float[n, 4] boxes in pixels of the photo, cut at its sides, and float[n] scores, of the best cells of all levels."""
        parts, scores = [], []
        for group in pyramid.levels(photo):
            canvases = np.stack([level.canvas for level in group])
            values, found = jax.device_get(self._best_cells(self._variables, jnp.asarray(canvases)))
            parts += [level.to_photo(rows) for level, rows in zip(group, found, strict=True)]
            scores += list(values)
        limits = np.array([*photo.size, *photo.size], np.float64)
        found, flat = np.clip(np.concatenate(parts), 0, limits), np.concatenate(scores)
        is_there = boxes.areas(found) > 0
        return found[is_there], flat[is_there]
