"""Photo files without their metadata, the EXIF orientation that browsers apply, and TIFF.

Metadata may be damaged, or too large for Pillow, although every pixel is sound. So Pillow gets the
pixels alone.
"""

import io
import re
import struct
import zlib
from contextlib import suppress

from PIL import ExifTags, Image, TiffImagePlugin

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")  # as libjpeg looks for the next one
HEIF_EXIF = re.compile(rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL)  # ISO/IEC 14496-12, 8.11.6
RAW = "a camera's raw file, or a reduced picture: export the photo as JPEG"


def without_metadata(content: bytes) -> tuple[bytes, int]:
    """The file with the same pixels, and the EXIF orientation of a JPEG or PNG: 1 (upright) to 8.

    Browsers apply no other orientation: not that of XMP, nor EXIF's in a WebP, AVIF or HEIC.
    """
    if content.startswith(PNG_START):
        return _pixels_of_png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _pixels_of_jpeg(content)
    if content[4:8] == b"ftyp":  # an item of unknown type is passed over
        return HEIF_EXIF.sub(rb"\1none", content), 1
    return content, 1


def exif_orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 to 8; 1 if the block cannot be understood."""
    found = Image.Exif()
    try:
        found.load(exif)
        orientation = int(found.get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises SyntaxError, struct.error and others
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _pixels_of_png(content: bytes) -> tuple[bytes, int]:
    """Also without animation; an end that is missing is added. Pillow checks the pixels."""
    kept, at, orientation = [PNG_START], len(PNG_START), 0
    while at + 8 < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        data, chunk = content[at + 8 : at + 8 + length], content[at : at + 12 + length]
        at += 12 + length
        if kind == b"eXIf" and chunk == _chunk(kind, data):
            orientation = orientation or exif_orientation(data)
        elif kind == b"tRNS":  # as browsers: damaged transparency counts as absent
            size = {b"\0": 2, b"\2": 6}.get(content[25:26], len(data))  # of grey and of RGB
            if chunk == _chunk(kind, data) and len(data) == size:
                kept.append(chunk)
        elif kind in (b"IHDR", b"PLTE", b"IDAT"):
            orientation = orientation or int(kind == b"IDAT")  # EXIF counts before the pixels only
            # A chunk that is cut short may lack its checksum alone.
            kept.append(chunk if at <= len(content) else _chunk(kind, data))
    return b"".join([*kept, _chunk(b"IEND", b"")]), orientation or 1


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pixels_of_jpeg(content: bytes) -> tuple[bytes, int]:
    """Also without the further pictures of an MPO. Lengths of 0 and 1 count as 2, as in libjpeg."""
    kept, at, orientation = [content[:2]], 2, 0
    while found := JPEG_MARKER.search(content, at):
        code, (start, at) = found[1][0], found.span()
        if code == 0xDA:  # the pixels: nothing behind this marker is metadata
            return b"".join([*kept, content[start:]]), orientation or 1
        at += max(2, int.from_bytes(content[at : at + 2]))
        data = content[found.end() + 2 : at]
        is_application = 0xE0 <= code <= 0xEF or code == 0xFE
        is_color = len(data) >= 12 and data.startswith((b"JFIF\0", b"Adobe"))  # how it is coded
        if not is_application or is_color:
            kept.append(content[start:at])
        elif code == 0xE1 and data.startswith(b"Exif\0\0"):
            orientation = orientation or exif_orientation(data)
    return content, 1  # no pixels: Pillow reports it


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF of whose metadata the orientation alone is read; Pillow turns it while loading."""

    def getexif(self) -> Image.Exif:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = self.tag_v2.get(ExifTags.Base.Orientation, 1)
        return exif


def open_tiff(content: bytes) -> TiffImagePlugin.TiffImageFile:
    """The largest picture that is not a reduced version of another one; of equal ones, the first.

    Raises:
      ValueError: there are reduced ones only, as in the raw files of cameras.
    """
    if content[8:10] == b"CR":  # Canon's raw files do not say that their pictures are reduced
        raise ValueError(RAW)
    image, pixels = _Tiff(io.BytesIO(content)), list[int]()
    with suppress(Exception):  # the end, or a damaged page
        while True:
            image.seek(len(pixels))
            tags = image.tag_v2
            is_reduced = tags.get(254, 0) & 5 or tags.get(255) == 2  # or a mask; TIFF 6.0, page 36
            pixels.append(0 if is_reduced else image.width * image.height)
    if not max(pixels):
        raise ValueError(RAW)
    image.seek(pixels.index(max(pixels)))
    return image
