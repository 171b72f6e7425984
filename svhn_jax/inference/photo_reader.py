"""Reads the number in whole photos: decodes, finds the number, crops it, reads it."""

from collections.abc import Iterable, Sequence
from itertools import islice, repeat
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from svhn_jax import labels
from svhn_jax.data import photos
from svhn_jax.data.crop import Box, box_of, crop_number
from svhn_jax.errors import InputError, printable
from svhn_jax.inference.finder import Candidate, Finder
from svhn_jax.inference.reader import Reader
from svhn_jax.inference.reading import Reading
from svhn_jax.labels import BLANK
from svhn_jax.model import inputs
from svhn_jax.model.decode import Predictions

PRETRAINED = Path(__file__).parents[1] / "weights" / "reader"  # comes with the package
# In `choose`. Of the 399 validation photos found by search, the first reads the most numbers, and
# the others give the confidence of least negative log-likelihood (2026-11-30; calibration error
# 3.1 %, 4.8 % on 500 test photos).
CONFIDENCE_POWER, SHARPNESS, CAUTION = 0.5, 4.0, 1.5
BATCH_SIZE = 4  # of the one compiled program: few, as most calls read one photo

AnyPhoto = str | PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray
WHOLE: Literal["whole"] = "whole"
AnyBox = Sequence[float] | Literal["whole"] | None


class Cropped(NamedTuple):
    """A photo ready to be read.

    images: uint8[n, S, S, 3], a crop of each candidate, or of the given box.
    box: that was given; None for the whole photo. candidates: None if it was not searched.
    """

    images: np.ndarray
    box: Box | None
    candidates: Sequence[Candidate] | None


def choose(candidates: Sequence[Candidate], read: Predictions[np.ndarray]) -> tuple[int, float]:
    """The position of the candidate that holds the number, and the confidence of its reading.

    The confidence is the share of the candidates that read the same number, each weighted by its
    score and probability: it is low where good candidates disagree.

    Args:
      candidates: places of one photo, best first, at least one.
      read: the prediction in each of them.
    """
    log_p, log_scores = read.log_p.astype(np.float64), np.log([one.score for one in candidates])
    best = int((log_scores + CONFIDENCE_POWER * log_p).argmax())
    values = SHARPNESS * (log_scores + log_p)
    weights = np.exp(values - values.max())
    agrees = (read.labels == read.labels[best]).all(axis=1)
    share = float((weights * np.exp(log_p))[agrees].sum() / weights.sum())
    return best, share**CAUTION


class PhotoReader:
    """A saved step of a run, ready to read photos of any size on one device.

    reader = svhn_jax.load()
    reader.read("door.jpg").number
    reader.read("door.jpg", box=(120, 80, 260, 90)).confidence
    """

    batch_size = BATCH_SIZE

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
        self.max_digits = self.reader.max_digits
        self._finder = finder
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
        [reading] = self.read_crops([self.crop(decode(photo), box)])
        return reading

    def read_many(
        self, photos: Iterable[AnyPhoto], boxes: Iterable[AnyBox] | None = None
    ) -> list[Reading]:
        """The numbers in several photos, each as `read` gives it; few decoded photos are in memory.

        boxes: one for each photo (else ValueError), as in `read`; None: search in every photo.
        """
        if isinstance(photos, str | bytes):
            raise InputError("photos is one photo; give several, or use read")
        pairs = zip(photos, boxes or repeat(None), strict=boxes is not None)
        crops = (self.crop(decode(photo), box) for photo, box in pairs)
        readings: list[Reading] = []
        while chunk := list(islice(crops, BATCH_SIZE)):
            readings += self.read_crops(chunk)
        return readings

    def crop(self, photo: Image.Image, box: AnyBox = None) -> Cropped:
        """Crops the number out of an upright RGB photo as in training; `box` as in `read`.

        Raises:
          InputError: the box lies outside the photo, or is none.
        """
        given, candidates = None, None
        if isinstance(box, str) and box != WHOLE:
            raise InputError(f"box is {box!r}; give (left, top, width, height), {WHOLE!r} or None")
        if box is None and self._finder is not None:
            candidates = self._finder.find(photo)
        elif box is not None and not isinstance(box, str):
            given = as_box(box)
        rule = self.reader.crop
        places = [given] if candidates is None else [one.box for one in candidates]
        try:
            crops = [
                crop_number(photo, place, margin=rule.margin, size=rule.size) for place in places
            ]
        except ValueError as error:
            raise InputError(str(error)) from None
        images = np.array(crops, np.uint8).reshape(-1, rule.size, rule.size, 3)
        return Cropped(images, given, candidates)

    def read_crops(self, crops: Sequence[Cropped]) -> list[Reading]:
        """The number in each photo that `crop` has cropped."""
        images = np.concatenate([one.images for one in crops]) if crops else np.zeros(0)
        read = self.reader.read(images) if len(images) else None
        readings, start = [], 0
        for one in crops:
            end = start + len(one.images)
            if read is None or start == end:  # no place of a number was found
                readings.append(Reading("", 0.0, (), 0.0, None, 0.0))
                continue
            readings.append(_reading(one, Predictions(*(part[start:end] for part in read))))
            start = end
        return readings


def _reading(cropped: Cropped, read: Predictions[np.ndarray]) -> Reading:
    if cropped.candidates is None:
        best, box, found = 0, cropped.box, None
        confidence = float(np.exp(read.log_p[0].astype(np.float64)))
    else:
        best, confidence = choose(cropped.candidates, read)
        box, found = cropped.candidates[best]
    label = read.labels[best]
    digits = np.exp(read.digit_log_p[best][label[1:] != BLANK].astype(np.float64)).tolist()
    length_p = float(np.exp(read.length_log_p[best].astype(np.float64)))
    return Reading(labels.decode(label), confidence, tuple(digits), length_p, box, found)


def as_box(values: Sequence[float]) -> Box:
    """The box (left, top, width, height) as a Box, which it may be already; InputError if none."""
    sides = values.left_top_width_height() if isinstance(values, Box) else values
    try:
        left, top, width, height = map(float, sides)
        box = box_of(left, top, width, height)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"box is {printable(str(values))}: {error}; give (left, top, width, height) in pixels"
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
        return photos.upright(photo if isinstance(photo, Image.Image) else _of_array(photo))
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _of_array(pixels: Any) -> Image.Image:
    pixels = np.asarray(pixels)
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in (2, 3)
        or pixels.shape[2:] not in ((), (3,), (4,))
    ):
        raise ValueError(
            f"{pixels.dtype}{list(pixels.shape)}; give a path, a file's bytes, a Pillow image, "
            "uint8[height, width] or uint8[height, width, 3]"
        )
    if not pixels.size:
        raise ValueError("no pixels")
    return Image.fromarray(pixels)
