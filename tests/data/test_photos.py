"""Photo files as cameras, phones and editors write them: the pixels decide."""

import gzip
import io
import struct
import zlib

import numpy as np
import pytest
from archives import png, upright
from PIL import Image

from svhn_jax.data import photos
from svhn_jax.data.photos import decode_photo

GREY, HALF_WHITE = [51] * 3, [153] * 3  # 51 of 255 is a fifth; half of it over white is 153
SIX = (20, 40)  # the size of `upright` after orientation 6, a quarter turn
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def saved(image, form, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def exif(orientation: int, count: int = 1) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, count, orientation, 0)
    return b"MM\0\x2a" + struct.pack(">IH", 8, 1) + entry + bytes(4)


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png_with(*chunks: bytes) -> bytes:
    whole = upright("PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def jpeg_with(marker: int, data: bytes, length: int | None = None) -> bytes:
    whole = upright("JPEG")
    size = struct.pack(">H", len(data) + 2 if length is None else length)
    return whole[:2] + bytes([0xFF, marker]) + size + data + whole[2:]


def is_upright(content: bytes, size: tuple[int, int] = (40, 20)) -> bool:
    """Whether the photo of `upright` is read whole, lying as it was saved or turned to `size`."""
    image = decode_photo(content)
    assert image.size == photos.photo_size(content) == size
    pixels = np.asarray(image) if size == (40, 20) else np.asarray(image).swapaxes(0, 1)
    return bool(pixels[:, :15].min() > 200 and pixels[:, 25:].max() < 55)


@pytest.mark.parametrize(
    "content",
    [
        png_with(chunk(b"eXIf", b"junk")),
        png_with(chunk(b"eXIf", exif(6), crc=1)),
        png_with(chunk(b"eXIf", exif(9))),
        png_with(chunk(b"eXIf", exif(6, count=2))),
        png_with(chunk(b"tEXt", b"a\0b", crc=1)),
        png_with(chunk(b"tRNS", b"\1"), chunk(b"tRNS", bytes(6), crc=1)),
        png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**23)))),
        png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\nzz"))),
        png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        png_with(chunk(b"iCCP", b"x\0\7junk")),
        png_with(chunk(b"pHYs", b"\0"), chunk(b"gAMA", b""), chunk(b"acTL", b"\0")),
        png_with(chunk(b"acTL", bytes(8)), chunk(b"fcTL", b"")),
        jpeg_with(0xE1, b"Exif\0\0junk"),
        jpeg_with(0xE1, b"Exif\0\0" + exif(6)[:18]),
        jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        jpeg_with(0xE1, b"", length=0),
        jpeg_with(0xE1, b"", length=1),
        jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0"),
        jpeg_with(0xE2, b"ICC_PROFILE\0\1"),
        jpeg_with(0xED, b"Photoshop 3.0\0008BIM\4\4"),
        jpeg_with(0xEE, b"Adobe"),
        upright("WEBP", lossless=True, exif=b"junk"),
        upright("WEBP", lossless=True, exif=exif(6)),  # browsers do not turn it
        upright("WEBP", lossless=True, xmp=XMP),
        upright("AVIF", exif=b"Exif\0\0" + exif(1)).replace(exif(1)[:8], b"\xff" * 8),
        upright("AVIF", xmp=XMP),
        upright("TIFF", tiffinfo={700: XMP}),
        upright("TIFF", tiffinfo={34665: 0xFFFFFF, 34675: b"junk"}),
    ],
)
def test_metadata_that_cannot_be_understood_count_as_absent(content):
    assert is_upright(content)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "AVIF", "MPO"])
def test_a_photo_lying_on_its_side_is_turned_as_browsers_turn_it(form):
    orientation = Image.Exif()
    orientation[0x0112] = 6
    options = {"append_images": [Image.new("RGB", (9, 9))]} if form == "MPO" else {}
    content = upright(form, exif=orientation, save_all=form == "MPO", **options)
    assert is_upright(content, SIX)
    photo = decode_photo(content)
    assert photos.upright(photo) == photo  # not turned again


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_applied(orientation):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    content = saved(Image.fromarray(values), "PNG", exif=exif(orientation))
    turned = [values, values[:, ::-1], values[::-1, ::-1], values[::-1]]
    turned += [one.T for one in (values, values[::-1], values[::-1, ::-1], values[:, ::-1])]
    assert np.asarray(decode_photo(content))[..., 0].tolist() == turned[orientation - 1].tolist()


def test_the_first_exif_of_a_file_counts_and_none_behind_the_pixels():
    first, second = chunk(b"eXIf", exif(6)), chunk(b"eXIf", exif(3))
    assert is_upright(png_with(first, second), SIX)
    whole = upright("PNG")
    assert is_upright(whole[:-12] + first + whole[-12:])


NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.mark.parametrize("filler", [b"", b"\xff" * 512])  # the latter: erased flash memory
@pytest.mark.parametrize(
    ("form", "cut", "options"),
    [
        *(("JPEG", 1, {}), ("JPEG", 2, {}), ("JPEG", 2, {"progressive": True})),
        *((form, cut, {}) for form, cut in (("PNG", 12), ("PNG", 16), ("GIF", 1), ("GIF", 2))),
    ],
)
def test_a_photo_that_lacks_only_its_end_is_read(form, cut, options, filler):
    content = saved(Image.fromarray(NOISE), form, **options)
    filler = filler if form == "JPEG" else b""
    assert decode_photo(content[:-cut] + filler).tobytes() == decode_photo(content).tobytes()
    with pytest.raises(ValueError, match="damaged image"):
        decode_photo(content[:-200] + filler)


def tiff_of(*pages: tuple[Image.Image, int]) -> bytes:
    """Pictures with their TIFF tag NewSubfileType."""
    images = [image.copy() for image, _ in pages]
    for image, (_, kind) in zip(images, pages, strict=True):
        image.encoderinfo = {"tiffinfo": {254: kind}}
    return saved(images[0], "TIFF", save_all=True, append_images=images[1:])


def test_a_reduced_picture_is_never_read_in_place_of_the_photo():
    photo = Image.open(io.BytesIO(upright("PNG")))
    small = photo.resize((10, 5))
    assert is_upright(saved(small, "TIFF", save_all=True, append_images=[photo]))
    assert is_upright(tiff_of((photo, 0), (small, 1)))
    assert is_upright(tiff_of((small, 1), (photo, 0)))
    for content in (tiff_of((photo, 1)), b"II*\0\x10\0\0\0CR\2\0" + bytes(40)):
        for read in (decode_photo, photos.photo_size):
            with pytest.raises(ValueError, match="raw file"):
                read(content)


@pytest.mark.parametrize("form", sorted({*photos.FORMATS} - {"PSD", "SUN", "XPM"}))
def test_every_format_that_pillow_writes_is_read_without_its_suffix(form):
    assert is_upright(upright(form))
    if form in ("GIF", "WEBP", "PNG", "TIFF"):  # of an animation the first picture
        assert is_upright(upright(form, save_all=True, append_images=[Image.new("RGB", (40, 20))]))


def test_formats_that_start_programs_or_have_no_signature_are_not_read():
    for form in ("EPS", "TGA", "ICO", "PDF"):
        with pytest.raises(ValueError, match="not a readable image"):
            decode_photo(upright(form))


def png_claiming(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"junk" * 50, "not a readable image"),
        (gzip.compress(png()), "not a readable image"),
        (png()[:40], "image"),
        (png().replace(b"IDAT", b"IDAQ"), "image"),
        (png_claiming(8200, 8200), "8200 x 8200 pixels"),  # just over the limit of 2**26
        (png_claiming(1, 2**15 + 1), "1 x 32769 pixels"),
        (png_claiming(10_000, 10_000), "pixels"),
        (png_claiming(60_000, 60_000), "pixels"),
        (saved(Image.new("I", (4, 4), 1), "TIFF"), "white"),
        (saved(Image.new("F", (4, 4), 1), "TIFF"), "white"),
    ],
)
def test_decode_refuses_what_is_no_whole_photo_of_sane_size_and_known_white(content, words):
    with pytest.raises(ValueError, match=words):
        decode_photo(content)


MODES = {
    **{"1": (1, [255] * 3), "L": (51, GREY), "P": (1, [1] * 3), "RGB": ((1, 2, 3), [1, 2, 3])},
    **{"LA": ((51, 128), HALF_WHITE), "PA": ((51, 128), HALF_WHITE)},
    **{"RGBA": ((51, 51, 51, 128), HALF_WHITE), "RGBa": ((26, 26, 26, 128), HALF_WHITE)},
    **{"RGBX": ((1, 2, 3, 0), [1, 2, 3]), "CMYK": ((204, 204, 204, 0), GREY)},
    **{"YCbCr": ((51, 128, 128), GREY), "HSV": ((0, 0, 51), GREY)},
    **{"LAB": ((51, 128, 128), [48] * 3)},  # a lightness of a fifth is a grey of 48
    **{"I;16": (51 * 257, GREY), "I;16B": (51 * 257, GREY)},
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_the_colour_that_viewers_show(mode):
    value, expected = MODES[mode]
    image = Image.new(mode, (2, 2), value)
    if mode == "PA":
        image.putpalette([grey for level in range(256) for grey in [level] * 3])
    shown = np.asarray(photos.to_rgb(image))
    assert shown.shape == (2, 2, 3)
    np.testing.assert_allclose(shown, np.broadcast_to(expected, shown.shape), atol=1)


RAMP = np.array([[0, 51 * 257, 2**15, 2**16 - 1]], np.uint16)


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.fromarray(RAMP), "PNG"),
        saved(Image.fromarray(RAMP), "TIFF"),
        saved(Image.fromarray(RAMP.astype(">u2")), "TIFF"),
        b"P5 4 1 65535 " + RAMP.astype(">u2").tobytes(),
        b"P5 4 1 1020 " + np.array([0, 204, 510, 1020], ">u2").tobytes(),
    ],
    ids=["PNG", "TIFF", "TIFF, big-endian", "PGM", "PGM of 1021 greys"],
)
def test_16_bits_a_pixel_are_scaled_not_clipped(content):
    shown = np.asarray(decode_photo(content))[0, :, 0]
    np.testing.assert_allclose(shown, [0, 51, 128, 255], atol=1)


def test_transparent_pixels_are_white():
    half = Image.new("RGBA", (2, 1), (51, 51, 51, 255))
    half.putpixel((0, 0), (51, 51, 51, 0))
    palette = half.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
    forms = [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("GIF", {})]
    for content in (
        *(saved(half, form, **options) for form, options in forms),
        *(saved(half.convert("LA"), form) for form in ("PNG", "TIFF")),
    ):
        assert np.asarray(decode_photo(content)).tolist() == [[[255] * 3, GREY]]
    for content in (
        saved(palette, "PNG", transparency=palette.getpixel((0, 0))),
        saved(palette, "PNG", transparency=b"\0\0"),
        saved(Image.new("RGB", (2, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        saved(Image.new("L", (2, 1), 7), "PNG", transparency=7),
    ):
        assert np.asarray(decode_photo(content)).tolist() == [[[255] * 3] * 2]


def test_an_upright_image_is_not_copied_and_a_turned_one_stays_as_it_is():
    image = Image.open(io.BytesIO(upright("PNG")))
    assert photos.upright(image) is image
    for form in ("PNG", "JPEG", "WEBP"):
        image = Image.open(io.BytesIO(upright(form, exif=b"Exif\0\0" + exif(6))))
        assert photos.upright(image).size == ((40, 20) if form == "WEBP" else SIX)
        assert image.size == (40, 20)
