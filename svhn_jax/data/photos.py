"""Reads and decodes photo files, which may be untrusted."""

import hashlib
import io
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from svhn_jax.data.records import Photo
from svhn_jax.errors import printable

PHOTO_NAME = re.compile(r"[A-Za-z0-9_-]+\.(png|jpg|jpeg)", re.IGNORECASE)
MAX_PHOTO_BYTES = 2**27  # 40 million pixels without compression
MAX_PHOTO_PIXELS = 2**26  # phones make 50 million; more is taken for a decompression bomb
MAX_PHOTO_SIDE = 2**15  # resizing a photo of one column takes a hundred times its memory
MAT_NAME = "digitStruct.mat"
# The supported formats in Pillow's names, the most frequent first, and the suffixes of their files. Not supported:
# EPS (Pillow starts Ghostscript), WMF, BUFR, GRIB, HDF5, MPEG (Pillow has no decoder), TGA, PCD, SPIDER, IM, FLI and others
# (no reliable signature: any bytes could pass for a photo), ICO, ICNS, BLP (the size is known only after decoding).
FORMATS = {
    **{"PNG": (".png", ".apng"), "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")},
    **{
        "WEBP": (".webp",),
        "TIFF": (".tif", ".tiff"),
        "BMP": (".bmp",),
        "DIB": (".dib",),
        "GIF": (".gif",),
    },
    **{"AVIF": (".avif",), "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c")},
    **{
        "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
        "QOI": (".qoi",),
        "PSD": (".psd",),
        "SGI": (".sgi", ".rgb", ".bw"),
    },
    **{"PCX": (".pcx",), "SUN": (".ras",), "DDS": (".dds",), "XBM": (".xbm",), "XPM": (".xpm",)},
}
HEIF_SUFFIXES = (
    ".heic",
    ".heif",
    ".hif",
)  # read through the package pillow-heif, where it is installed
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
SUFFIXES = (*(suffix for suffixes in FORMATS.values() for suffix in suffixes), *HEIF_SUFFIXES)
PNG_ORIENTATION = (b"eXIf", b"exif", b"xmp")  # every PNG with an orientation has one of these
OTHER_FILES = (MAT_NAME, "see_bboxes.m")  # files of a published archive that are not photos


def read_photo(folder: Path, name: str) -> Photo:
    """Reads a photo of a folder; a link that leads out of the folder is not followed."""
    path = folder / name
    if not path.is_file():
        return Photo(
            name,
            b"",
            "not a regular file" if path.exists() or path.is_symlink() else "no such photo",
        )
    if leads_out(folder, path):
        return Photo(name, b"", "a link that leads out of the folder")
    if path.stat().st_size > MAX_PHOTO_BYTES:
        return Photo(name, b"", f"larger than {MAX_PHOTO_BYTES} bytes")
    return Photo(name, path.read_bytes())


def leads_out(folder: str | Path, path: str | Path) -> bool:
    """Whether links lead from a path below the folder to a file outside of it."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def read_file(path: Path) -> bytes:
    """The bytes of a photo file that the user has named; links are followed.

    Raises:
      ValueError: there is no such file, it is no regular file, too large, or may not be read.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        )  # a pipe without a writer must not block
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("not a regular file; give a photo")
            with open(descriptor, "rb", closefd=False) as file:
                return read_stream(file)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ValueError((error.strerror or str(error)).lower()) from None


def read_stream(stream: IO[bytes]) -> bytes:
    """The bytes of one photo; ValueError if they are too many."""
    content = stream.read(MAX_PHOTO_BYTES + 1)
    if len(content) > MAX_PHOTO_BYTES:
        raise ValueError(f"larger than {MAX_PHOTO_BYTES} bytes")
    return content


def _require_known_white(image: Image.Image) -> None:
    if image.mode == "F" or (
        image.mode == "I" and image.format != "PPM"
    ):  # a PPM file states its maximum value
        bits = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample)
        kind = "signed 16-bit" if bits == (16,) else "32-bit"
        raise ValueError(
            f"{kind} pixels, whose white is unknown; save the photo with 8 or 16 unsigned bits a channel"
        )


def upright(image: Image.Image) -> Image.Image:
    """The upright RGB image of an open one, which may be that one; ValueError if it cannot be read."""
    with _errors_as_value_errors():
        _require_known_white(image)
        image.load()
        is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        return to_rgb(
            ImageOps.exif_transpose(image) if is_turned else image
        )  # exif_transpose copies every image


def decode_photo(content: bytes) -> Image.Image:
    """The upright RGB image of an image file's bytes; of several images in one file, the first.

        photo = decode_photo(Path("door.jpg").read_bytes())
        photo.size  # (width, height)

    Raises:
      ValueError: the bytes are not an image, or it is cut short, too large, or of a pixel format without a known white.
    """
    with _errors_as_value_errors():
        image = _open(content)
        with _without_libtiff_messages(image):
            image.load()
        _check_size(image)  # a HEIC may hold another size than it claims
        if _orientation(image, content) != 1:  # cameras store photos rotated, with this tag
            ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def photo_size(content: bytes) -> tuple[int, int]:
    """(width, height) of the upright photo, from the file's header.

    Raises:
      ValueError: as `decode_photo`, except for errors in the pixels.
    """
    with _errors_as_value_errors(), _open(content) as image:
        is_turned = _orientation(image, content) in (5, 6, 7, 8)
        return (image.height, image.width) if is_turned else image.size


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts to RGB: transparent pixels over white, 12-bit and 16-bit grey (mode I;16, or I of a PPM file) to 8 bits."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        tags = getattr(
            image, "tag_v2", None
        )  # of a TIFF; Pillow neither scales 12 bits nor inverts 16 bits
        white = 2 ** tags[ExifTags.Base.BitsPerSample][0] - 1 if tags else 65535
        grey = ((values * 255 + white // 2) // white).astype(np.uint8)
        if tags and tags.get(ExifTags.Base.PhotometricInterpretation, 0) == 0:  # 0 means white
            grey = 255 - grey
        grey[values == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image, content: bytes) -> int:
    """The EXIF orientation of the image in the file, 1 (upright) to 8."""
    if image.format == "TIFF":  # turned by Pillow itself
        return 1
    if image.format == "PNG" and not any(word in content for word in PNG_ORIENTATION):
        return 1  # Pillow would decode the whole image to find out
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _open(content: bytes) -> Image.Image:
    if not content:
        raise ValueError("an empty file; copy it again")
    image = (
        _open_heif(content)
        if _is_heif(content)
        else Image.open(io.BytesIO(content), formats=tuple(FORMATS))
    )
    _check_size(image)
    _require_known_white(image)
    if image.format == "PNG" and "transparency" in image.info:
        _scale_transparent_value(image)
    return image


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PHOTO_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PHOTO_PIXELS}")
    if max(image.size) > MAX_PHOTO_SIDE:
        raise ValueError(
            f"{image.width} x {image.height} pixels, a side of more than {MAX_PHOTO_SIDE}"
        )


def _is_heif(content: bytes) -> bool:
    """Whether the first box of the file (ISO/IEC 14496-12, section 4.3) names HEIF, but not AVIF, which Pillow reads."""
    if content[4:8] != b"ftyp" or content[8:12] not in HEIF_BRANDS:
        return False
    brands = content[8 : min(int.from_bytes(content[:4]), 512)]
    return b"avif" not in brands and b"avis" not in brands


def _open_heif(content: bytes) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise ValueError(
            "a HEIC photo, which needs one more package: pip install 'svhn_jax[heic]'"
        ) from None
    return HeifImageFile(io.BytesIO(content))


def _scale_transparent_value(image: ImageFile.ImageFile) -> None:
    """Scales the PNG value that marks transparent pixels to 8 bits; Pillow scales the pixels only."""
    bits_in_file = image.tile[0].args  # Pillow's raw mode
    if bits_in_file == "L;2":
        image.info["transparency"] = image.info["transparency"] % 4 * 85
    elif bits_in_file == "L;4":
        image.info["transparency"] = image.info["transparency"] % 16 * 17
    elif bits_in_file == "RGB;16B":
        raise ValueError(
            "16-bit RGB with a transparent color; save the photo with an alpha channel or with 8 bits"
        )


@contextmanager
def _without_libtiff_messages(image: Image.Image) -> Iterator[None]:
    """Redirects stderr: libtiff prints its errors there, and Pillow raises them anyway."""
    if image.format != "TIFF":
        yield
        return
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@contextmanager
def _errors_as_value_errors() -> Iterator[None]:
    try:
        with (
            warnings.catch_warnings()
        ):  # Pillow warns of small defects, and of sizes that are allowed here
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MAX_PHOTO_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise ValueError("not a readable image; convert it to PNG or JPEG") from None
    except ValueError as error:
        raise ValueError(printable(str(error))) from None
    except (
        Exception
    ) as error:  # Pillow raises OSError, SyntaxError, IndexError and others on damaged files
        raise ValueError(
            f"damaged image ({printable(str(error))}); copy it again, or save it anew"
        ) from None


def stamp(paths: Iterable[Path]) -> str:
    """SHA-256 of the names, sizes and times of files; changes whenever they do."""
    digest = hashlib.sha256()
    for path in paths:
        about = path.stat()
        digest.update(
            f"{path.name} {about.st_size} {about.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
        )
    return digest.hexdigest()
