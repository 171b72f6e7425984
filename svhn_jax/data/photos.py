"""Photos as files: their bytes, safely read, and the image in them."""

import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from svhn_jax.errors import printable

PHOTO_NAME = re.compile(r"[A-Za-z0-9_-]+\.(png|jpg|jpeg)", re.IGNORECASE)
MAX_PHOTO_BYTES = 32 * 2**20
MAX_PHOTO_PIXELS = 2**26  # telephones make 50 million; beyond this it is a bomb
MAX_PHOTO_SIDE = 2**15  # to resize a photo of a single column takes a hundred times its memory
MAT_NAME = "digitStruct.mat"
JPEG = ("JPEG", "MPO")  # what Pillow calls a JPEG, and one with a second picture in it, as telephones make
OTHER_FILES = (MAT_NAME, "see_bboxes.m")  # what a published archive holds besides photos


class Photo(NamedTuple):
    """A file of the split: its name without the folder, its bytes, or why they cannot be had."""

    name: str
    content: bytes
    problem: str = ""


def read_photo(folder: Path, name: str) -> Photo:
    """A photo of a folder; a link that leads out of it is not followed."""
    path = folder / name
    if not path.is_file():
        return Photo(name, b"", "not a regular file" if path.exists() or path.is_symlink() else "no such photo")
    if not path.resolve().is_relative_to(folder.resolve()):
        return Photo(name, b"", "a link that leads out of the folder")
    if path.stat().st_size > MAX_PHOTO_BYTES:
        return Photo(name, b"", f"larger than {MAX_PHOTO_BYTES} bytes")
    return Photo(name, path.read_bytes())


def decode_photo(content: bytes) -> Image.Image:
    """The RGB image in an image file's bytes, upright.

    Raises:
      ValueError: no image, an image cut short, or one of absurd size.
    """
    with _told_as_value_errors():
        image = _open(content)
        image.load()
        if image.format in JPEG:  # telephones store photos lying on their side, and say so
            image = ImageOps.exif_transpose(image)
        return image if image.mode == "RGB" else image.convert("RGB")


def photo_size(content: bytes) -> tuple[int, int]:
    """(width, height) that the header of an image file states; ValueError as `decode_photo`, but for what comes after."""
    with _told_as_value_errors(), _open(content) as image:
        is_turned = image.format in JPEG and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (image.height, image.width) if is_turned else image.size


def _open(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    if image.width * image.height > MAX_PHOTO_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PHOTO_PIXELS}")
    if max(image.size) > MAX_PHOTO_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels, a side of more than {MAX_PHOTO_SIDE}")
    return image


@contextmanager
def _told_as_value_errors() -> Iterator[None]:
    try:
        with warnings.catch_warnings():  # Pillow warns of what it forgives, and of sizes below ours
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MAX_PHOTO_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise ValueError("no readable PNG or JPEG image") from None
    except ValueError as error:
        raise ValueError(printable(str(error))) from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, IndexError and others on damaged files
        raise ValueError(f"damaged image ({printable(str(error))})") from None


def stamp(paths: Iterable[Path]) -> str:
    """SHA-256 of the names, sizes and times of files; changes whenever they do."""
    digest = hashlib.sha256()
    for path in paths:
        about = path.stat()
        digest.update(f"{path.name} {about.st_size} {about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
