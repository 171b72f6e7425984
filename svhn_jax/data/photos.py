"""Reads and decodes photo files, which may be untrusted."""

import functools
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from svhn_jax.data.metadata import exif_orientation, open_tiff, without_metadata
from svhn_jax.errors import printable

MAX_PHOTO_BYTES = 2**27  # 40 million pixels without compression
MAX_PHOTO_PIXELS = 2**26  # phones make 50 million; more is taken for a decompression bomb
MAX_PHOTO_SIDE = 2**15  # resizing a photo of one column takes a hundred times its memory
MAT_NAME = "digitStruct.mat"
# In Pillow's names, the most frequent first. Left out: formats that start programs (EPS), that
# Pillow cannot decode, that any bytes could pass for (TGA), or whose size is known late (ICO).
FORMATS = (
    *("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM", "QOI"),
    *("PSD", "SGI", "PCX", "SUN", "DDS", "XBM", "XPM"),
)
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp"),
    *(".dib", ".gif", ".avif", ".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".qoi", ".psd", ".sgi", ".rgb", ".bw", ".pcx", ".ras", ".dds", ".xbm"),
    *(".xpm", ".heic", ".heif", ".hif"),  # HEIC through pillow-heif, where that is installed
)
TURNS = {  # by EXIF orientation
    **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
    **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE},
    **{6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90},
}
END_OF_JPEG = b"\xff\xd9"


def read_file(path: str | Path) -> bytes:
    """The bytes of a photo file; links are followed.

    Raises:
      ValueError: there is no such file, it is no regular file, too large, or may not be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise ValueError("neither a regular file nor a folder with photos in it")
        with open(path, "rb") as file:
            return read_stream(file)
    except OSError as error:
        raise ValueError((error.strerror or str(error)).lower()) from None


def read_stream(stream: IO[bytes]) -> bytes:
    """The bytes of one photo; ValueError if they are too many."""
    content = stream.read(MAX_PHOTO_BYTES + 1)
    if len(content) > MAX_PHOTO_BYTES:
        raise ValueError(f"larger than {MAX_PHOTO_BYTES} bytes; save a smaller version")
    return content


def decode_photo(content: bytes) -> Image.Image:
    """The upright RGB image of an image file's bytes; of several images in one file, the first.

        photo = decode_photo(Path("door.jpg").read_bytes())
        photo.size  # (width, height)

    Only the pixels decide: metadata that cannot be understood count as absent.

    Raises:
      ValueError: the bytes are not an image, or it is cut short, too large, a reduced version,
        or of a pixel format without a known white.
    """
    with _errors_as_value_errors():
        image, orientation = _open(content)
        try:
            image.load()
        except OSError:
            if image.format not in ("JPEG", "PNG", "GIF", "BMP"):
                raise
            image = _loaded_without_end(content)
        _check(image)  # a HEIC may hold another size than it claims
        photo = to_rgb(_turned(image, orientation))
        photo.info.pop("exif", None)  # `upright` would turn it again
        return photo


def upright(image: Image.Image) -> Image.Image:
    """The upright RGB image of an open one, which may be that one; ValueError if it is unreadable.

    Turned by the orientation of its file, as in `decode_photo`.
    """
    with _errors_as_value_errors():
        _check(image)
        image.load()
        exif = b"" if image.format in ("WEBP", "TIFF") else image.info.get("exif", b"")
        return to_rgb(_turned(image, exif_orientation(exif)))


def photo_size(content: bytes) -> tuple[int, int]:
    """(width, height) of the upright photo, from the file's header.

    Raises:
      ValueError: as `decode_photo`, except for errors in the pixels.
    """
    with _errors_as_value_errors():
        image, orientation = _open(content)
        return (image.height, image.width) if orientation >= 5 else image.size


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts to RGB: transparent pixels over white, 16-bit grey to 8 bits."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
        grey[values == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _open(content: bytes) -> tuple[Image.Image, int]:
    """The image, its pixels not decoded yet, and the EXIF orientation to be applied."""
    if not content:
        raise ValueError("an empty file; copy it again")
    _ignore_warnings_of_pillow()
    content, orientation = without_metadata(content)
    if content.startswith(tuple(TiffImagePlugin.PREFIXES)):
        image: ImageFile.ImageFile = open_tiff(content)
    elif content[4:8] == b"ftyp" and not re.search(b"avi[fs]", content[8 : min(content[3], 128)]):
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            remedy = "pip install 'svhn_jax[heic]'"
            raise ValueError(f"a HEIC photo, which needs one more package: {remedy}") from None
        image = HeifImageFile(io.BytesIO(content))
    else:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.format == "AVIF":  # Pillow gives the turn that the container states as EXIF
        orientation = exif_orientation(image.info.get("exif", b""))
    _check(image)
    return image, orientation


@functools.cache
def _ignore_warnings_of_pillow() -> None:
    """Set once: warnings.catch_warnings is not safe in threads."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _check(image: Image.Image) -> None:
    if image.width * image.height > MAX_PHOTO_PIXELS or max(image.size) > MAX_PHOTO_SIDE:
        size = f"{image.width} x {image.height} pixels, more than {MAX_PHOTO_PIXELS} or a side"
        raise ValueError(f"{size} of more than {MAX_PHOTO_SIDE}; save a smaller version")
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ValueError("pixels whose white is unknown; save the photo with 8 bits a channel")


def _loaded_without_end(content: bytes) -> Image.Image:
    """A photo that lacks only the end of its file, such as a JPEG's end marker.

    OSError if pixels are missing too: then other bytes in their place change the picture.
    """
    start = content.rstrip(b"\xff")  # half a marker, or erased flash memory
    endings = (filler * 64 + END_OF_JPEG for filler in (b"\0", b"\x55", b"\xff\0"))
    images = [_open(start + ending)[0] for ending in endings]
    if any(image.tobytes() != images[0].tobytes() for image in images):
        raise OSError("pixels are missing at its end")
    return images[0]


@contextmanager
def _errors_as_value_errors() -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError("not a readable image; convert it to PNG or JPEG") from None
    except (ValueError, Image.DecompressionBombError) as error:
        raise ValueError(printable(str(error))) from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, IndexError and others
        reason = printable(str(error))
        raise ValueError(f"damaged image ({reason}); copy it again, or save it anew") from None
