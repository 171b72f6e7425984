"""Reads the number in whole photos: decodes, locates the number, crops it as the run was trained, reads it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat, zip_longest
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from svhn_jax import labels
from svhn_jax.data import photos
from svhn_jax.data.crop import Box, box_of, crop_number
from svhn_jax.errors import InputError, printable
from svhn_jax.inference.reader import Reader
from svhn_jax.inference.reading import Reading
from svhn_jax.labels import BLANK
from svhn_jax.model import inputs

PRETRAINED = Path(__file__).parents[1] / "weights" / "reader"  # comes with the package
# Of a reading's confidence beside the finder's score: chosen on validation (docs/experiments.md).
CONFIDENCE_POWER = 0.5
MISSING = object()  # where photos or boxes have ended
BATCH_SIZE = 4  # of the one compiled program, in which a photo is read alone as in company: few, as most calls read one

AnyPhoto = str | PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray
WHOLE: Literal["whole"] = "whole"
AnyBox = Sequence[float] | Literal["whole"] | None


class Found(Protocol):
    """A place of a number in a photo: its box in pixels, and its score, 0 to 1."""

    @property
    def box(self) -> Box: ...

    @property
    def score(self) -> float: ...


class Finds(Protocol):
    """Finds the number in a photo."""

    def find(self, photo: Image.Image) -> Sequence[Found]:
        """The places of numbers in an RGB photo, best first; empty if there is none."""
        ...


class Cropped(NamedTuple):
    """A photo ready to be read.

    image: uint8[S, S, 3]; None where no place of a number was found.
    box, found: as in Reading.
    """

    image: np.ndarray | None
    box: Box | None
    found: float | None


class PhotoReader:
    """A saved step of a run, ready to read photos of any size on one device.

    reader = svhn_jax.load()
    reader.read("door.jpg").number
    reader.read("door.jpg", box=(120, 80, 260, 90)).confidence

    max_digits: how many digits the network reads. batch_size: how many crops it reads at a time.
    """

    batch_size = BATCH_SIZE

    def __init__(
        self,
        run: str | None = None,
        step: str | int = "best",
        *,
        finder: Finds | None = None,
        tta: bool = False,
    ) -> None:
        """Loads the weights.

        Args:
          run: the run's folder; by default the weights of the package.
          step: best, latest or a step's number.
          finder: finds the number where no box is given; without one, the whole photo is read.
          tta: average five windows of each crop, which is more accurate, and five times the work.

        Raises:
          InputError: there is no such run or step.
          CheckpointError: the step is damaged.
        """
        views = len(inputs.VIEWS) if tta else 1
        self.reader = Reader(str(run or PRETRAINED), step, batch_size=BATCH_SIZE, views=views)
        self._finder = finder
        side = self.reader.crop.size
        blank = np.zeros((1, side, side, 3), np.uint8)
        self.max_digits = self.reader.max_digits
        self.reader.read(blank)  # compiles, so that the first photo need not wait

    def read(self, photo: AnyPhoto, box: AnyBox = None) -> Reading:
        """The number in a photo.

        Args:
          photo: a file's path or bytes, an image, or uint8[H, W] or uint8[H, W, 3]. A file's or image's EXIF
            orientation is applied.
          box: of the number, (left, top, width, height) in pixels of the upright photo, or the Box of a reading; "whole"
            if the number fills the photo; None to search for it.

        Raises:
          InputError: the photo cannot be read, or the box lies outside of it.
        """
        [reading] = self.read_many([photo], [box])
        return reading

    def read_many(
        self, photos: Iterable[AnyPhoto], boxes: Iterable[AnyBox] | None = None
    ) -> list[Reading]:
        """The numbers in several photos, see `read`; each is what `read` gives. One decoded photo is held at a time."""
        if isinstance(photos, str | bytes):
            raise InputError("photos is one photo; give several, or use read")
        pairs = zip(photos, repeat(None), strict=False) if boxes is None else _pairs(photos, boxes)
        return list(self._read(pairs))

    def _read(self, pairs: Iterable[tuple[AnyPhoto, AnyBox]]) -> Iterator[Reading]:
        rest = iter(pairs)
        while chunk := list(islice(rest, BATCH_SIZE)):
            yield from self.read_crops([self.crop(decode(photo), box) for photo, box in chunk])

    def crop(self, photo: Image.Image, box: AnyBox = None) -> Cropped:
        """Crops the number out of an upright RGB photo as the run was trained; `box` as in `read`.

        Raises:
          InputError: the box lies outside the photo, or is none.
        """
        number, score = self._place(photo, box)
        if number is None and score is not None:
            return Cropped(None, None, score)
        try:
            image = self._image(photo, number)
        except ValueError as error:
            raise InputError(str(error)) from None
        return Cropped(image, number, score)

    def _place(self, photo: Image.Image, box: AnyBox) -> tuple[Box | None, float | None]:
        """The number's box, None for the whole photo, and its score; (None, 0) if it was searched for in vain."""
        if isinstance(box, str):
            if box != WHOLE:
                raise InputError(
                    f"box is {box!r}; give (left, top, width, height), {WHOLE!r} or None"
                )
            return None, None
        if box is not None:
            return as_box(box), None
        if self._finder is None:
            return None, None
        found = self._finder.find(photo)
        if not found:
            return None, 0.0
        best = self._best(photo, found)
        return best.box, best.score

    def _best(self, photo: Image.Image, found: Sequence[Found]) -> Found:
        """The place of the greatest score times the root of the confidence with which it is read; of equal ones the first."""
        if len(found) == 1:
            return found[0]
        log_p = self.reader.read(np.stack([self._image(photo, one.box) for one in found])).log_p
        values = np.log([one.score for one in found]) + CONFIDENCE_POWER * log_p
        return found[int(values.argmax())]

    def _image(self, photo: Image.Image, number: Box | None) -> np.ndarray:
        return crop_number(
            photo, number, margin=self.reader.crop.margin, size=self.reader.crop.size
        )

    def read_crops(self, crops: Sequence[Cropped]) -> list[Reading]:
        """The number in each crop that `crop` made."""
        images = [one.image for one in crops if one.image is not None]
        predictions = iter(zip(*self.reader.read(np.stack(images)), strict=True) if images else ())
        readings = []
        for one in crops:
            if one.image is None:
                readings.append(Reading("", 0.0, (), 0.0, None, one.found))
                continue
            label, length_log_p, digit_log_p, log_p = next(predictions)
            confidence, length_p = np.exp(np.array([log_p, length_log_p], np.float64)).tolist()
            digits = np.exp(digit_log_p[label[1:] != BLANK].astype(np.float64)).tolist()
            readings.append(
                Reading(
                    labels.decode(label), confidence, tuple(digits), length_p, one.box, one.found
                )
            )
        return readings


def as_box(values: Sequence[float]) -> Box:
    """The box (left, top, width, height) as a Box, which it may be already; InputError if it is none."""
    sides = values.left_top_width_height() if isinstance(values, Box) else values
    try:
        left, top, width, height = map(float, sides)
    except (TypeError, ValueError):
        raise InputError(
            f"box is {printable(str(values))}; give (left, top, width, height) in pixels"
        ) from None
    try:
        box = box_of(left, top, width, height)
    except ValueError as error:
        raise InputError(f"box is {printable(str(values))}: {error}") from None
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


def _of_array(pixels: np.ndarray) -> Image.Image:
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or not (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    ):
        raise ValueError(
            f"{pixels.dtype}{list(pixels.shape)}; give a path, a file's bytes, a Pillow image, uint8[height, width] or "
            "uint8[height, width, 3]"
        )
    if not pixels.size:
        raise ValueError("no pixels")
    return Image.fromarray(pixels)


def _pairs(photos: Iterable[AnyPhoto], boxes: Iterable[AnyBox]) -> Iterator[tuple[Any, Any]]:
    """Each photo with its box; InputError where one of the two ends before the other."""
    for photo, box in zip_longest(photos, boxes, fillvalue=MISSING):
        if photo is MISSING or box is MISSING:
            raise InputError(
                "photos and boxes differ in number; give a box for each photo, None to search for it"
            )
        yield photo, box
