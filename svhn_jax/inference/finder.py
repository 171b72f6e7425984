"""Finds numbers in a whole photo: digits on a pyramid of scales, joined into numbers."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from svhn_jax.data.crop import Box
from svhn_jax.errors import InputError
from svhn_jax.finding import boxes, numbers, pyramid
from svhn_jax.finding.boxes import Digits
from svhn_jax.finding.network import FinderNet, Maps, normalized
from svhn_jax.inference.reader import choose_step
from svhn_jax.model.settings import own_settings
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training import compilation, devices

SHIPPED = Path(__file__).parents[1] / "weights" / "finder"  # comes with the package
MOST = 3  # candidates of a photo
CONSIDERED = 128  # of a canvas: its best cells
FLOOR = 0.1  # score of a cell from which it is considered
WIDER = 0.1  # of the digits' height, on both sides of a number: chosen on validation


class Candidate(NamedTuple):
    """A number that may be the photo's.

    Attributes:
      box: around its digits, in pixels of the photo, within it.
      score: mean of its digits' scores, 0 to 1. value: how likely it is the photo's, above 0.
      number: its digits as the finder reads them. digits: their probabilities.
      is_stack: they stand one below the other.
    """

    box: Box
    score: float
    value: float
    number: str
    digits: tuple[float, ...]
    is_stack: bool


class Finder:
    """A trained finder on one device.

        finder = Finder()
        candidates = finder.find(Image.open("door.jpg").convert("RGB"))  # best first; empty: none

    A photo's result depends on the photo alone.
    """

    @own_settings()
    def __init__(self, run: str | Path | None = None, step: str | int = "best"):
        """Loads weights of a run of train_finder; None: those that come with the package.

        Raises:
          InputError: there are none, or they are of another network.
          CheckpointError: they are damaged.
        """
        folder = RunFolder(str(run or SHIPPED))
        config = folder.config()
        if config.model.architecture != "finder":
            raise InputError(
                f"{folder.path}: its network is no finder; train one with train_finder"
            )
        with Checkpoints(folder.steps_path) as checkpoints:
            weights = checkpoints.restore_weights(choose_step(step, checkpoints, folder))
        self._variables = jax.device_put(weights)
        network = FinderNet(config.model)

        def best_cells(variables: Any, canvases: jax.Array) -> tuple[jax.Array, ...]:
            applied: Any = network.apply(variables, normalized(canvases), False)
            maps = Maps(*(x.reshape(len(canvases), -1, *x.shape[3:]) for x in applied))
            logits, cells = jax.lax.top_k(maps.presence, CONSIDERED)
            found, classes = (
                jnp.take_along_axis(x, cells[..., None], axis=1) for x in (maps.boxes, maps.classes)
            )
            return found, jax.nn.sigmoid(logits), jax.nn.softmax(classes)

        options = compilation.compiler_options(devices.make_mesh())
        self._best_cells = jax.jit(best_cells, compiler_options=options)

    def find(self, photo: Image.Image) -> list[Candidate]:
        """The numbers in an upright RGB photo, at most MOST, best first."""
        found = numbers.join(boxes.merge(self._digits(photo)))
        return [candidate for one in found[:MOST] if (candidate := _candidate(one, photo.size))]

    @own_settings()
    def _digits(self, photo: Image.Image) -> Digits:
        """The best cells of all levels, their boxes in pixels of the photo."""
        parts = []
        for group in pyramid.levels(photo):
            canvases = jnp.asarray(np.stack([level.canvas for level in group]))
            cells = jax.device_get(self._best_cells(self._variables, canvases))
            for level, *row in zip(group, *cells, strict=True):
                one = Digits(*row)
                one = one._replace(boxes=one.boxes / np.tile(level.scale, 2))
                parts.append(one.take(one.scores >= FLOOR))
        return Digits(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _candidate(number: numbers.Number, size: tuple[int, int]) -> Candidate | None:
    """None where less than a pixel of the number lies in the photo."""
    digits = number.digits
    sides = np.concatenate([digits.boxes[:, :2].min(axis=0), digits.boxes[:, 2:].max(axis=0)])
    wider = WIDER * float(np.median(digits.boxes[:, 3] - digits.boxes[:, 1]))
    sides += wider * np.array([-1, 0, 1, 0])
    left, top, right, bottom = np.clip(sides, 0, np.tile(size, 2)).tolist()
    if right - left < 1 or bottom - top < 1:
        return None
    text = "".join(map(str, digits.classes.argmax(axis=1)))
    shares = tuple(digits.classes.max(axis=1).tolist())
    score, box = float(digits.scores.mean()), Box(left, top, right, bottom)
    return Candidate(box, score, number.value, text, shares, number.is_stack)
