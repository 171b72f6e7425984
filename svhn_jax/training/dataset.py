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

    Steps take consecutive rows of an endless sequence of permutations of `epoch`, so that each epoch shows every row
    once for any batch size. The order is a pure function of (seed, step): nothing is saved, and a resumed run sees the
    same batches as an uninterrupted one.

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
    """The train splits of `data.dir` and of each of `data.mix_in`, as many times an epoch as the configuration says.

    Raises:
      InputError: a data set is missing, empty, cropped by another rule than the first, or of another max_digits than the model.
    """
    parts: list[arrays.Split] = []
    epoch, fingerprint = [], hashlib.sha256()
    first_row = 0
    mixed_in = config.data.mix_in_repeat or (1,) * len(config.data.mix_in)
    repeats = zip(
        (config.data.dir, *config.data.mix_in), (config.data.repeat, *mixed_in), strict=True
    )
    for folder, repeat in repeats:
        split = load_images(
            folder, "train", config, (parts[0].crop, config.data.dir) if parts else None
        )
        epoch.append(np.tile(np.arange(first_row, first_row + len(split.images)), repeat))
        first_row += len(split.images)
        fingerprint.update(f"{split.fingerprint} x {repeat}\n".encode())
        parts.append(split)
    return TrainingSet(
        tuple(np.asarray(part.images).reshape(len(part.images), -1) for part in parts),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(epoch),
        fingerprint.hexdigest(),
    )


def refuse_held_out_photos(config: Config) -> None:
    """Raises InputError if a train split of `data.mix_in` holds validation or test photos of `data.dir`."""
    if not config.data.mix_in:
        return
    ours = remote.local(config.data.dir)
    for split in ("validation", "test"):
        if split not in arrays.read_manifest(ours)["splits"]:
            continue
        for folder in config.data.mix_in:
            names = shared_photos(ours, split, remote.local(folder), "train")
            if names:
                shown = ", ".join(names[:NAMES_SHOWN]) + (
                    ", ..." if len(names) > NAMES_SHOWN else ""
                )
                raise InputError(
                    f"{folder}: its train split holds {len(names):,} of the {split} photos of {config.data.dir} ({shown}): "
                    f"training would see what {split} measures; prepare both from the same photos with the same --seed "
                    f"and --validation-fraction, or leave {folder} out of data.mix_in"
                )


def load_images(
    folder: str, split: str, config: Config, rule: tuple[CropRule, str] | None = None
) -> arrays.Split:
    """A split that holds at least one image, no smaller than the configured window, with labels of `model.max_digits`.

    Args:
      rule: the crop rule that the data set must have, and the name of what requires it, for messages.

    Raises:
      InputError: the split is missing, cropped by another rule, of another max_digits, empty, or smaller than `image.crop`.
    """
    loaded = arrays.load_split(remote.local(folder), split)
    if rule:
        require_same_rule(folder, loaded.crop, *rule)
    if loaded.max_digits != config.model.max_digits:
        or_train = "" if rule else f", or train with --model.max-digits {loaded.max_digits}"
        raise InputError(
            f"{folder}: its labels hold at most {loaded.max_digits} digits, but model.max_digits is "
            f"{config.model.max_digits}; prepare that data set again with --max-digits {config.model.max_digits}{or_train}"
        )
    if not len(loaded.images):
        raise InputError(
            f"{folder}: its {split} split is empty; preprocess more photos or with another --validation-fraction"
        )
    if loaded.images.shape[1] < config.image.crop:
        side = loaded.images.shape[1]
        raise InputError(
            f"image.crop is {config.image.crop}, more than the {side} pixels of the images in {folder}; "
            f"give --image.crop {side} or less, or prepare larger crops with --size"
        )
    return loaded
