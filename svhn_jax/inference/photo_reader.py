"""Reads the number in whole photos: decodes, finds the number, crops it, reads it."""

from collections.abc import Iterable, Sequence
from itertools import islice, repeat
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from svhn_jax import labels
from svhn_jax.data import photos
from svhn_jax.data.crop import Box, box_of, crop_number
from svhn_jax.errors import InputError, printable
from svhn_jax.inference.choosing import choose
from svhn_jax.inference.finder import Candidate, Finder
from svhn_jax.inference.reader import Reader
from svhn_jax.inference.reading import Reading
from svhn_jax.labels import BLANK
from svhn_jax.model import inputs
from svhn_jax.model.decode import Predictions

PRETRAINED = Path(__file__).parents[1] / "weights" / "reader"  # comes with the package
BATCH_SIZE = 4  # of the one compiled program: few, as most calls read one photo

AnyPhoto = str | PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray
AnyBox = Sequence[float] | Literal["whole"] | None


# A photo's crops uint8[S, S, 3], and what each is of: the finder's candidates, or the box (None:
# the whole photo).
Prepared = tuple[list[np.ndarray], list[Candidate] | Box | None]


class PhotoReader:
    """A saved step of a run, ready to read photos of any size on one device.

    reader = svhn_jax.load()
    reader.read("door.jpg").number
    reader.read("door.jpg", box=(120, 80, 260, 90)).confidence
    """

    def __init__(
        self,
        run: str | None = None,
        step: str | int = "best",
        *,
        finder: Finder | None = None,
        tta: bool = False,
    ) -> None:
        """Loads the weights and compiles.

        Args:
          run, step, tta: as in `svhn_jax.load`.
          finder: finds the number where no box is given; without one, the whole photo is read.
        """
        views = len(inputs.VIEWS) if tta else 1
        self.reader = Reader(str(run or PRETRAINED), step, batch_size=BATCH_SIZE, views=views)
        self.max_digits, self.finder = self.reader.max_digits, finder
        side = self.reader.crop.size
        self.reader.read(np.zeros((1, side, side, 3), np.uint8))  # compiles

    def read(self, photo: AnyPhoto, box: AnyBox = None) -> Reading:
        """The number in a photo.

        Args:
          photo: a file's path or bytes, an image, or uint8[H, W] or uint8[H, W, 3]. A file's or
            image's EXIF orientation is applied.
          box: of the number, (left, top, width, height) in pixels of the upright photo, or the Box
            of a reading; "whole" if the number fills the photo; None to search for it.

        Raises:
          InputError: the photo cannot be read, or the box lies outside of it.
        """
        return self.read_prepared([self.prepare(photo, box)])[0]

    def read_many(
        self, photos: Iterable[AnyPhoto], boxes: Iterable[AnyBox] | None = None
    ) -> list[Reading]:
        """The numbers in several photos, each as `read` gives it.

        boxes: one for each photo (else ValueError), as in `read`; None: search in every photo.
        """
        if isinstance(photos, str | bytes):
            raise InputError("photos is one photo; give several, or use read")
        pairs = zip(photos, boxes or repeat(None), strict=boxes is not None)
        readings: list[Reading] = []
        while batch := [self.prepare(*pair) for pair in islice(pairs, BATCH_SIZE)]:
            readings += self.read_prepared(batch)
        return readings

    def prepare(self, photo: AnyPhoto, box: AnyBox = None) -> Prepared:
        """Decodes a photo, and crops the box or what the finder finds; InputError as in `read`."""
        image = decode(photo)
        if box is None and self.finder is not None:
            found = self.finder.find(image)
            return [self.crop(image, one.box) for one in found], found
        is_whole = box is None or (isinstance(box, str) and box == "whole")
        given = None if is_whole else as_box(box)
        return [self.crop(image, given)], given

    def read_prepared(self, prepared: Sequence[Prepared]) -> list[Reading]:
        """The numbers in photos of `prepare`: their crops share batches of BATCH_SIZE."""
        every = [crop for crops, _ in prepared for crop in crops]
        read = self.reader.read(np.stack(every)) if every else ()
        readings, end = [], 0
        for crops, where in prepared:
            start, end = end, end + len(crops)
            own = Predictions(*(column[start:end] for column in read)) if crops else None
            if own is None:
                readings.append(Reading("", 0.0, (), 0.0, None, 0.0))
            elif isinstance(where, list):
                readings.append(choose(where, own))
            else:
                readings.append(_reading(own, where))
        return readings

    def crop(self, photo: Image.Image, box: Box | None) -> np.ndarray:
        """uint8[S, S, 3]: the number, cropped as in training; None: the whole photo."""
        rule = self.reader.crop
        try:
            return crop_number(photo, box, margin=rule.margin, size=rule.size)
        except ValueError as error:
            raise InputError(str(error)) from None


def _reading(read: Predictions[np.ndarray], box: Box | None) -> Reading:
    """The only prediction, of a box that was given."""
    label, length_p = read.labels[0], float(np.exp(read.length_log_p[0].astype(np.float64)))
    digits = np.exp(read.digit_log_p[0][label[1:] != BLANK].astype(np.float64)).tolist()
    confidence = float(np.exp(read.log_p[0].astype(np.float64)))
    return Reading(labels.decode(label), confidence, tuple(digits), length_p, box, None)


def as_box(values: AnyBox) -> Box:
    """The box (left, top, width, height) as a Box, which it may be already; InputError if none."""
    sides: Any = values.left_top_width_height() if isinstance(values, Box) else values
    try:
        left, top, width, height = map(float, sides)
        box = box_of(left, top, width, height)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"box is {printable(str(values))}: {error}; give (left, top, width, height) or 'whole'"
        ) from None
    return values if isinstance(values, Box) else box


def decode(photo: AnyPhoto) -> Image.Image:
    """The upright RGB image of a photo, see `PhotoReader.read`; InputError if it cannot be read."""
    name = printable(str(photo)) if isinstance(photo, str | PathLike) else "the photo"
    try:
        if isinstance(photo, str | PathLike):
            return photos.decode_photo(photos.read_file(Path(photo)))
        if isinstance(photo, bytes | bytearray | memoryview):
            return photos.decode_photo(bytes(photo))
        if not isinstance(photo, Image.Image):
            photo = Image.fromarray(np.asarray(photo))
        return photos.upright(photo)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: {error}") from None
