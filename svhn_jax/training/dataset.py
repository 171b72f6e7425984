"""The training set of a run, from one or more prepared data sets, and the order of its rows."""

import functools
import hashlib
from typing import NamedTuple

import numpy as np

from svhn_jax.config import Config
from svhn_jax.data import arrays, remote
from svhn_jax.data.crop import CropRule, require_same_rule
from svhn_jax.data.overlap import shared_photos
from svhn_jax.errors import InputError

NAMES_SHOWN = 5


class DataOrder:
    """Which rows each step trains on.

    Steps take consecutive rows of an endless sequence of permutations of `epoch`: each epoch shows
    every row once for any batch size. The order is a pure function of (seed, step), so a resumed
    run sees the batches of an uninterrupted one.

        rows = DataOrder(data.epoch, config.batch_size, config.seed).rows(step)
        images, labels = data.take(rows), data.labels[rows]
    """

    def __init__(self, epoch: np.ndarray, batch_size: int, seed: int):
        """epoch: int[M], the rows of one epoch; a row may occur several times."""
        self._epoch, self._batch_size, self._seed = epoch, batch_size, seed
        self._permutation = functools.lru_cache(maxsize=3)(self._permute)

    def rows(self, step: int) -> np.ndarray:
        """int32[batch_size], the rows of step number `step`, from 0."""
        positions = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs, places = np.divmod(positions, len(self._epoch))
        rows = [
            self._permutation(int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)
        ]
        return np.concatenate(rows)

    def _permute(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(self._epoch).astype(np.int32)


class TrainingSet(NamedTuple):
    """The train splits of one or more data sets.

    Attributes:
      parts: images of each data set, uint8[n, S * S * 3], memory-mapped.
      labels: of all parts in turn, N first; a reader's are int32[N, 1 + D].
      epoch: int[M], the rows of one epoch, repeats included.
      fingerprint: SHA-256 of contents and epoch.
    """

    parts: tuple[np.ndarray, ...]
    labels: np.ndarray
    epoch: np.ndarray
    fingerprint: str

    @property
    def side(self) -> int:
        """Side of the stored images, pixels."""
        return round((self.parts[0].shape[1] // 3) ** 0.5)

    @property
    def nbytes(self) -> int:
        """Bytes of all images and labels."""
        return sum(part.nbytes for part in self.parts) + self.labels.nbytes

    def images(self) -> np.ndarray:
        """uint8[N, S * S * 3]: all images."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """uint8[..., S * S * 3]: the images of rows int[...]."""
        if len(self.parts) == 1:
            return np.take(self.parts[0], rows, axis=0)
        taken = np.empty((*rows.shape, self.parts[0].shape[1]), np.uint8)
        first_row = 0
        for part in self.parts:
            is_here = (rows >= first_row) & (rows < first_row + len(part))
            taken[is_here] = part[rows[is_here] - first_row]
            first_row += len(part)
        return taken


def load_training_set(config: Config) -> TrainingSet:
    """The train splits of `data.dir` and `data.mix_in`, repeated within an epoch as configured.

    Raises:
      InputError: see `load_images`; or the data sets are cropped by different rules.
    """
    parts: list[arrays.Split] = []
    epoch, names, first_row = [], "", 0
    folders = (config.data.dir, *config.data.mix_in)
    repeats = (config.data.repeat, *(config.data.mix_in_repeat or (1,) * len(folders[1:])))
    for folder, repeat in zip(folders, repeats, strict=True):
        rule = (parts[0].crop, config.data.dir) if parts else None
        split = load_images(folder, "train", config, rule)
        epoch.append(np.tile(np.arange(first_row, first_row + len(split.images)), repeat))
        first_row += len(split.images)
        names += f"{split.fingerprint} x {repeat}\n"
        parts.append(split)
    return TrainingSet(
        tuple(np.asarray(part.images).reshape(len(part.images), -1) for part in parts),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(epoch),
        hashlib.sha256(names.encode()).hexdigest(),
    )


def refuse_held_out_photos(config: Config) -> None:
    """Raises InputError if `data.mix_in` trains on validation or test photos of `data.dir`."""
    ours = remote.local(config.data.dir)
    splits = ("validation", "test") if config.data.mix_in else ()
    for split in set(splits) & arrays.read_manifest(ours)["splits"].keys():
        for folder in config.data.mix_in:
            if names := shared_photos(ours, split, remote.local(folder), "train"):
                raise InputError(
                    f"{folder}: its train split holds {len(names):,} of the {split} photos of "
                    f"{config.data.dir} ({', '.join(names[:NAMES_SHOWN])}); prepare both from the "
                    "same photos with one --seed and --validation-fraction, or leave it out"
                )


def load_images(
    folder: str, split: str, config: Config, rule: tuple[CropRule, str] | None = None
) -> arrays.Split:
    """A split that suits the configuration: at least one image, the window's size, max_digits.

    Args:
      rule: the crop rule that the data set must have, and the name of its origin, for messages.

    Raises:
      InputError: the split is missing, or does not suit.
    """
    loaded, ours = arrays.load_split(remote.local(folder), split), config.model.max_digits
    if rule:
        require_same_rule(folder, loaded.crop, *rule)
    if loaded.max_digits != ours:
        raise InputError(
            f"{folder}: its labels hold {loaded.max_digits} digits, model.max_digits is {ours}; "
            f"prepare with --max-digits {ours} or give --model.max-digits {loaded.max_digits}"
        )
    if not len(loaded.images):
        raise InputError(f"{folder}: its {split} split is empty; prepare more photos")
    side = loaded.images.shape[1]
    if side < config.image.crop:
        raise InputError(
            f"image.crop is {config.image.crop}, more than the {side} pixels of {folder}; give "
            f"--image.crop {side} or less, or prepare larger crops with --size"
        )
    return loaded
