"""Opens TIFF files: the largest picture of several, and no reduced one in its place."""

import ctypes
import functools
import io
from contextlib import suppress
from pathlib import Path

import PIL
from PIL import ExifTags, Image, TiffImagePlugin

STARTS = tuple(TiffImagePlugin.PREFIXES)


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF of whose metadata the orientation alone is read; Pillow turns it while loading."""

    def getexif(self) -> Image.Exif:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = self.tag_v2.get(ExifTags.Base.Orientation, 1)
        return exif


def open_largest(content: bytes) -> TiffImagePlugin.TiffImageFile:
    """The largest picture that is not a reduced version of another one; of equal ones, the first.

    Raises:
      ValueError: there are reduced ones only, as in the raw files of cameras.
    """
    _silence_libtiff()
    stream, starts, sizes = io.BytesIO(content), list[int](), list[int]()
    with suppress(Exception):  # a damaged page ends the list
        page = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if b"+" in content[:4] else 8])
        while page.next and page.next not in starts:
            starts.append(page.next)
            stream.seek(page.next)
            page.load(stream)
            is_reduced = page.get(254, 0) & 5 or page.get(255) == 2  # or a mask; TIFF 6.0, page 36
            sizes.append(0 if is_reduced else page[256] * page[257])
    if max(sizes, default=1) == 0 or content[8:10] == b"CR":  # Canon's CR2 does not tell
        raise ValueError("a camera's raw file, or a reduced picture: export the photo as JPEG")
    image = _Tiff(io.BytesIO(content))
    image.seek(sizes.index(max(sizes)) if sizes else 0)
    return image


@functools.cache
def _silence_libtiff() -> None:
    """libtiff prints its errors, though Pillow raises them. Does nothing for another libtiff than
    the copy in Pillow's wheel."""
    for folder in (Path(PIL.__file__).parents[1] / "pillow.libs", Path(PIL.__file__).parent):
        for library in folder.rglob("libtiff*"):
            ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)
