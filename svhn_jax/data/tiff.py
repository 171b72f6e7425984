"""Opens TIFF files: the largest picture of several, and no reduced one in its place."""

import io
from contextlib import suppress

from PIL import ExifTags, Image, TiffImagePlugin

STARTS = tuple(TiffImagePlugin.PREFIXES)
RAW = "a camera's raw file, or a reduced picture: export the photo as JPEG"


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
