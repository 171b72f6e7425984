"""The photos of a split, from an archive and from a folder, whole and damaged."""

import gzip
import hashlib
import io
import os
import struct
import tarfile
import tempfile
import tracemalloc
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from archives import MAT, fields, mat_bytes, png, split_files, tar_gz, upright, write_split
from PIL import ExifTags, Image

from svhn_jax.data import photos
from svhn_jax.data.photos import decode_photo
from svhn_jax.data.records import Photo
from svhn_jax.data.sources import archive
from svhn_jax.data.sources.find import find_source
from svhn_jax.errors import InputError


def test_archive_and_folder_hold_the_same_photos_and_records(tmp_path):
    files = split_files(tmp_path, ["5", "120", "77"]) | {
        "notes.txt": b"no photo",
        "4.JPG": b"any bytes",
    }
    write_split(tmp_path / "a", "train", files)
    write_split(tmp_path / "b", "train", files, as_archive=False)
    archive, folder = find_source(tmp_path / "a", "train"), find_source(tmp_path / "b", "train")
    expected = [Photo(name, files[name]) for name in ("1.png", "2.png", "3.png", "4.JPG")]
    expected.append(Photo("notes.txt", b"", "not the name of a photo"))
    assert sorted(archive.photos()) == expected
    assert sorted(folder.photos()) == expected
    for source in (archive, folder):
        assert [(r.name, r.digits) for r in source.records()] == [
            ("1.png", (5,)),
            ("2.png", (1, 2, 0)),
            ("3.png", (7, 7)),
        ]


def test_an_archive_goes_before_a_folder_of_the_same_split(tmp_path):
    write_split(tmp_path, "train", {"1.png": b"old"}, as_archive=False)
    write_split(tmp_path, "train", {"1.png": b"new"})
    assert list(find_source(tmp_path, "train").photos()) == [Photo("1.png", b"new")]


def test_members_outside_the_split_folder_are_named_and_not_read(tmp_path):
    outside = [
        "../x.png",
        "/train/x.png",
        "other/1.png",
        "x.png",
        "train/sub/1.png",
        "train/../../x.png",
        "a\x1b[2J.png",
    ]
    members = {name: name.encode() for name in (*outside, "./train/1.png")}
    tar_gz(tmp_path / "train.tar.gz", members)
    *bad, good = find_source(tmp_path, "train").photos()
    assert bad == [Photo(name.replace("\x1b", "?"), b"", "not in train/") for name in outside]
    assert good == Photo("1.png", b"./train/1.png")


def test_links_and_oversized_photos_are_named_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_PHOTO_BYTES", 5)
    monkeypatch.setattr(archive, "MAX_PHOTO_BYTES", 5)
    tar_gz(
        tmp_path / "train.tar.gz",
        {"train/1.png": "/etc/passwd", "train/2.png": b"123456", "train/3.png": b"12345"},
    )
    assert list(find_source(tmp_path, "train").photos()) == [
        Photo("1.png", b"", "not a regular file"),
        Photo("2.png", b"", "larger than 5 bytes"),
        Photo("3.png", b"12345"),
    ]
    folder = tmp_path / "raw" / "train"
    (folder / "1.png").mkdir(parents=True)
    (folder / "2.png").write_bytes(b"123456")
    (folder / "3.png").symlink_to("/etc/passwd")
    (folder / "4.png").write_bytes(b"here")
    (folder / "5.png").symlink_to("4.png")
    (folder / "6.png").symlink_to("nowhere")
    os.mkfifo(folder / "7.png")
    assert list(find_source(tmp_path / "raw", "train").photos()) == [
        Photo("2.png", b"", "larger than 5 bytes"),
        Photo("3.png", b"", "a link that leads out of the folder"),
        Photo("4.png", b"here"),
        Photo("5.png", b"here"),
        Photo("6.png", b"", "not a regular file"),
        Photo("7.png", b"", "not a regular file"),
    ]


def test_a_split_that_is_not_there_names_both_places(tmp_path):
    with pytest.raises(InputError, match=r"holds neither extra\.tar\.gz nor extra/"):
        find_source(tmp_path, "extra")


@pytest.mark.parametrize(
    "mat", [{}, {f"train/{MAT}": "/etc/passwd"}, {f"other/{MAT}": b"elsewhere"}]
)
def test_an_archive_without_its_own_digit_struct_is_refused(tmp_path, mat):
    path = tar_gz(tmp_path / "train.tar.gz", {"train/1.png": png()} | mat)
    with pytest.raises(InputError, match=f"{path}: no readable train/digitStruct.mat in it"):
        find_source(tmp_path, "train").records()


def test_a_damaged_digit_struct_names_the_archive_it_is_in(tmp_path):
    path = tar_gz(tmp_path / "train.tar.gz", {f"train/{MAT}": b"no HDF5"})
    with pytest.raises(InputError, match=str(path)):
        find_source(tmp_path, "train").records()


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b"junk" * 99, lambda b: b[: len(b) // 2], lambda b: b[:9]]
)
def test_a_damaged_archive_is_one_line_that_names_it(tmp_path, damage):
    noise = np.random.default_rng(0).bytes(50_000)
    path = tar_gz(tmp_path / "train.tar.gz", {"train/1.png": noise, f"train/{MAT}": noise})
    path.write_bytes(damage(path.read_bytes()))
    source = find_source(tmp_path, "train")
    for read in (lambda: list(source.photos()), source.records):
        with pytest.raises(InputError, match="damaged or cut short") as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")


def test_an_archive_cut_anywhere_before_its_last_photo_is_refused(tmp_path):
    members = {f"train/{i}.png": bytes([i]) * 600 for i in range(1, 4)}
    path = tar_gz(tmp_path / "train.tar.gz", members, compresslevel=0)
    whole = path.read_bytes()
    taken = []
    for cut in range(10, whole.rindex(b"\3" * 600), 50):
        path.write_bytes(whole[:cut])
        try:
            taken.append((cut, len(list(find_source(tmp_path, "train").photos()))))
        except InputError:
            continue
    assert taken == []


def test_an_archive_with_one_changed_byte_is_refused(tmp_path):
    path = tar_gz(tmp_path / "train.tar.gz", {"train/1.png": b"\1" * 600}, compresslevel=0)
    path.write_bytes(path.read_bytes().replace(b"\1" * 600, b"\1" * 599 + b"\2"))
    with pytest.raises(InputError, match="damaged"):
        list(find_source(tmp_path, "train").photos())


def one_header(path, entry, content=b""):
    """train.tar.gz of a single member, its content zeros up to the size its header claims, unless given."""
    with gzip.open(path, "wb", 1) as stream:
        stream.write(entry.tobuf(tarfile.GNU_FORMAT) + content)
        for _ in range(0 if content else entry.size // 2**20):
            stream.write(bytes(2**20))
    return path


def test_an_archive_that_expands_beyond_all_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MIN_EXPANDED_BYTES", 2**22)
    monkeypatch.setattr(archive, "MAX_EXPANSION", 2)
    entry = tarfile.TarInfo("train/1.png")
    entry.size = 2**24
    path = one_header(tmp_path / "train.tar.gz", entry)
    with pytest.raises(
        InputError, match=f"{path}: damaged or cut short .expands to more than {2**22} bytes"
    ):
        list(find_source(tmp_path, "train").photos())


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE]
)
def test_a_giant_header_is_refused_before_it_is_read(tmp_path, kind):
    entry = tarfile.TarInfo("train/1.png")
    entry.size, entry.type = 2**26, kind
    one_header(tmp_path / "train.tar.gz", entry)
    tracemalloc.start()
    with pytest.raises(InputError, match=f"a member of type .* and {2**26} bytes"):
        list(find_source(tmp_path, "train").photos())
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def members(path, *entries):
    """train.tar.gz of headers as they are, each followed by its content, in blocks of 512 bytes."""
    with gzip.open(path, "wb", 1) as stream:
        for header, content in entries:
            stream.write(header + content + bytes(-len(content) % 512))
        stream.write(bytes(1024))
    return path


def header(name, size, kind=tarfile.REGTYPE):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("size", [10**12, 2**62, -1])
def test_a_member_that_claims_more_than_any_archive_holds_is_refused_at_once(tmp_path, size):
    path = members(
        tmp_path / "train.tar.gz",
        (header("train/1.png", size), b"short"),
        (header("train/2.png", 3), b"abc"),
    )
    source = find_source(tmp_path, "train")
    for read in (lambda: list(source.photos()), source.records):
        with pytest.raises(
            InputError,
            match=f"{path}: damaged or cut short .a member of type b'0' and {size} bytes",
        ):
            read()


def test_a_member_whose_size_an_extended_header_hides_is_refused_at_once(tmp_path):
    record = b"10 size=3\n"
    members(
        tmp_path / "train.tar.gz",
        (header("pax", len(record), tarfile.XGLTYPE), record),
        (header("train/1.png", 10**12), b"abc"),
    )
    with pytest.raises(InputError, match=f"a member of type b'0' and {10**12} bytes"):
        list(find_source(tmp_path, "train").photos())


def test_a_damaged_header_is_not_taken_for_the_archives_end(tmp_path):
    damaged = header("train/2.png", 3).replace(b"train/2", b"train/7")
    members(
        tmp_path / "train.tar.gz",
        (header("train/1.png", 3), b"abc"),
        (damaged, b"abc"),
        (header("train/3.png", 3), b"abc"),
    )
    with pytest.raises(InputError, match="a damaged member header: bad checksum"):
        list(find_source(tmp_path, "train").photos())


def test_headers_that_describe_one_another_without_end_are_refused(tmp_path):
    longer = (header("././@LongLink", 12, tarfile.GNUTYPE_LONGNAME), b"train/1.png\0")
    members(tmp_path / "train.tar.gz", *[longer] * 3000, (header("x", 3), b"abc"))
    with pytest.raises(InputError, match=r"damaged or cut short .maximum recursion depth"):
        list(find_source(tmp_path, "train").photos())


def test_an_archive_of_nothing_but_strangers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BAD_MEMBERS", 3)
    path = tar_gz(tmp_path / "train.tar.gz", {f"elsewhere/{i}.png": b"" for i in range(5)})
    with pytest.raises(InputError, match=f"{path}: more than 3 members are not photos of train/"):
        list(find_source(tmp_path, "train").photos())


def test_pax_headers_of_sane_size_are_no_hindrance(tmp_path):
    with tarfile.open(tmp_path / "train.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("train/1.png")
        entry.size, entry.pax_headers = 3, {"comment": "x" * 300}
        tar.addfile(entry, io.BytesIO(b"abc"))
    assert list(find_source(tmp_path, "train").photos()) == [Photo("1.png", b"abc")]


def test_an_archives_fingerprint_is_the_sha256_of_its_bytes(tmp_path):
    write_split(tmp_path, "train", {"1.png": b"a"})
    expected = hashlib.sha256((tmp_path / "train.tar.gz").read_bytes()).hexdigest()
    assert find_source(tmp_path, "train").fingerprint() == expected


def test_a_folders_fingerprint_moves_with_its_photos_and_records(tmp_path):
    write_split(tmp_path, "train", {"1.png": b"one", MAT: b"mat a"}, as_archive=False)
    source, seen = find_source(tmp_path, "train"), set()
    changes = [
        (MAT, b"mat a"),
        (MAT, b"mat b"),
        ("1.png", b"longer"),
        ("1.png", b"LONGER"),
        ("2.png", b"new"),
    ]
    for name, content in changes:
        (tmp_path / "train" / name).write_bytes(content)
        seen.add(source.fingerprint())
    assert len(seen) == len(changes)


def test_photos_decode_to_rgb_whatever_their_mode(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    np.testing.assert_array_equal(decode_photo(stream.getvalue()), pixels)
    stream = io.BytesIO()
    Image.new("L", (3, 2), 77).save(stream, "PNG")
    np.testing.assert_array_equal(decode_photo(stream.getvalue()), np.full((2, 3, 3), 77, np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(bits: int, color_type: int, row: bytes, width: int, transparent: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, color_type, 0, 0, 0))
    rest = (
        chunk(b"tRNS", transparent)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + header + rest


def raw_tiff(bits: int, photometric: int, row: bytes, width: int, sample_format: int = 1) -> bytes:
    tags = {
        256: width,
        257: 1,
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: 1,
        279: len(row),
    }
    entries = [
        struct.pack("<HHIHH", tag, 3, 1, value, 0)
        for tag, value in (tags | {339: sample_format}).items()
    ]
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(row))
        + row
        + struct.pack("<H", len(entries))
        + b"".join(entries)
        + bytes(4)
    )


def png_claiming(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"junk" * 50, "not a readable image"),
        (gzip.compress(png()), "not a readable image"),
        (png(size=(300, 200))[:-40], "damaged image"),
        (png()[:40], "image"),
        (png().replace(b"IDAT", b"IDAQ"), "image"),
        (
            png_claiming(8200, 8200),
            "8200 x 8200 pixels",
        ),  # 67.2 million: just over the limit of 2**26
        (png_claiming(1, 2**15 + 1), "1 x 32769 pixels, a side of more than 32768"),
        (png_claiming(10_000, 10_000), "pixels"),
        (png_claiming(60_000, 60_000), "pixels"),
    ],
    ids=[
        "empty",
        "junk",
        "gzip",
        "cut late",
        "cut early",
        "bad chunk",
        "8200 px",
        "one column",
        "10,000 px",
        "60,000 px",
    ],
)
def test_decode_refuses_what_is_no_whole_photo_of_sane_size(content, words):
    with pytest.raises(ValueError, match=words):
        decode_photo(content)


def exif(orientation: int, count: int = 1) -> bytes:
    """An EXIF block that states the orientation, and how many numbers that is."""
    entry = struct.pack(">HHIHH", 0x0112, 3, count, orientation, 0)
    return b"Exif\0\0MM\0\x2a" + struct.pack(">IH", 8, 1) + entry + bytes(4)


EXIF_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO")


@pytest.mark.parametrize("form", EXIF_FORMATS)
def test_a_photo_lying_on_its_side_is_turned_upright_in_every_format_that_says_so(form):
    options = (
        {"save_all": True, "append_images": [Image.new("RGB", (40, 20))]} if form == "MPO" else {}
    )
    orientation = exif(6)
    if form == "TIFF":
        orientation = Image.Exif()
        orientation[0x0112] = 6
    content = upright(form, exif=orientation, **options)
    image = decode_photo(content)
    assert image.size == photos.photo_size(content) == (20, 40)
    assert np.asarray(image)[:18].min() > 200
    assert np.asarray(image)[22:].max() < 50


ROW = b"\xff" * 20 + bytes(20)
NOT_SAVED = {  # formats that Pillow reads only
    "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 20, 40, 8, 3) + bytes(14) + ROW * 60,
    "SUN": struct.pack(">8I", 0x59A66A95, 40, 20, 8, 800, 1, 0, 0) + ROW * 20,
    "XPM": b'/* XPM */\nstatic char *a[] = {\n"40 20 2 1",\n"a c #FFFFFF",\n"b c #000000",\n'
    + (b'"' + b"a" * 20 + b"b" * 20 + b'",\n') * 20
    + b"};\n",
}


@pytest.mark.parametrize("form", photos.FORMATS)
def test_every_format_is_read_without_its_suffix(form):
    content = NOT_SAVED.get(form) or upright(form)
    image = decode_photo(content)
    assert image.size == photos.photo_size(content) == (40, 20)
    assert np.asarray(image)[:, :15].min() > 200
    assert np.asarray(image)[:, 25:].max() < 50


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_read(form):
    content = upright(form, save_all=True, append_images=[Image.new("RGB", (40, 20), "red")])
    assert np.asarray(decode_photo(content))[10, 35].max() < 50


def test_formats_that_start_programs_or_have_no_signature_are_not_read():
    for form in ("EPS", "TGA", "ICO", "PDF"):
        with pytest.raises(ValueError, match="not a readable image"):
            decode_photo(upright(form))


GREY, HALF_WHITE = [51] * 3, [153] * 3  # 51 of 255 is a fifth; half of it over white is 153
MODES = {
    **{"1": (1, [255] * 3), "L": (51, GREY), "P": (1, [1] * 3), "RGB": ((1, 2, 3), [1, 2, 3])},
    **{"LA": ((51, 128), HALF_WHITE), "La": ((26, 128), HALF_WHITE), "PA": ((51, 128), HALF_WHITE)},
    **{"RGBA": ((51, 51, 51, 128), HALF_WHITE), "RGBa": ((26, 26, 26, 128), HALF_WHITE)},
    **{
        "RGBX": ((1, 2, 3, 0), [1, 2, 3]),
        "CMYK": ((204, 204, 204, 0), GREY),
        "YCbCr": ((51, 128, 128), GREY),
    },
    **{
        "HSV": ((0, 0, 51), GREY),
        "LAB": ((51, 128, 128), [48] * 3),
    },  # a lightness of a fifth is a grey of 48
    **{
        "I;16": (51 * 257, GREY),
        "I;16L": (51 * 257, GREY),
        "I;16B": (51 * 257, GREY),
        "I;16N": (51 * 257, GREY),
    },
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


def saved(image, form, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


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
    np.testing.assert_allclose(
        np.asarray(decode_photo(content))[0, :, 0], [0, 51, 128, 255], atol=1
    )


@pytest.mark.parametrize(
    ("content", "greys"),
    [
        (raw_tiff(16, 0, RAMP.astype("<u2").tobytes(), 4), [255, 204, 127, 0]),
        (raw_tiff(12, 1, bytes([0x00, 0x03, 0x33, 0x80, 0x0F, 0xFF]), 4), [0, 51, 128, 255]),
    ],
    ids=["16 bits, 0 is white", "12 bits"],
)
def test_a_tiffs_grey_is_scaled_and_inverted_as_its_tags_say(content, greys):
    np.testing.assert_allclose(np.asarray(decode_photo(content))[0, :, 0], greys, atol=1)


@pytest.mark.parametrize(
    ("bits", "row", "value", "greys"),
    [
        (1, b"\x60", 0, [255, 255, 255, 255]),
        (1, b"\x60", 1, [0, 255, 255, 0]),
        (2, b"\x1b", 1, [0, 255, 170, 255]),
        (2, b"\x1b", 3, [0, 85, 170, 255]),
        (4, b"\x03\x5f", 3, [0, 255, 85, 255]),
        (4, b"\x03\x5f", 0, [255, 51, 85, 255]),
    ],
)
def test_the_transparent_grey_of_a_png_counts_in_the_bits_of_the_file(bits, row, value, greys):
    content = raw_png(bits, 0, row, 4, struct.pack(">H", value))
    assert np.asarray(decode_photo(content))[0].tolist() == [[grey] * 3 for grey in greys]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            raw_png(16, 2, bytes(12), 2, struct.pack(">HHH", 1, 2, 3)),
            "16-bit RGB with a transparent color",
        ),
        (
            raw_tiff(16, 1, bytes(8), 4, sample_format=2),
            "signed 16-bit pixels, whose white is unknown",
        ),
    ],
    ids=["PNG", "TIFF"],
)
def test_pixels_that_would_be_read_wrong_are_refused(content, words):
    for read in (decode_photo, photos.photo_size):
        with pytest.raises(ValueError, match=words):
            read(content)


def test_transparent_pixels_are_white():
    half = Image.new("RGBA", (2, 1), (51, 51, 51, 255))
    half.putpixel((0, 0), (51, 51, 51, 0))
    palette = half.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
    for content in (
        *(
            saved(half, form, **{"lossless": True} if form == "WEBP" else {})
            for form in ("PNG", "WEBP", "TIFF", "GIF")
        ),
        *(saved(half.convert("LA"), form) for form in ("PNG", "TIFF")),
    ):
        assert np.asarray(decode_photo(content)).tolist() == [[[255] * 3, GREY]]
    for content in (
        saved(palette, "PNG", transparency=palette.getpixel((0, 0))),
        saved(Image.new("RGB", (2, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        saved(Image.new("L", (2, 1), 7), "PNG", transparency=7),
        saved(Image.fromarray(np.full((1, 2), 700, np.uint16)), "PNG", transparency=700),
    ):
        assert np.asarray(decode_photo(content)).tolist() == [[[255] * 3] * 2]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_which_nobody_knows_the_white_are_refused(mode):
    content = saved(Image.new(mode, (4, 4), 1), "TIFF")
    for read in (decode_photo, photos.photo_size):
        with pytest.raises(
            ValueError,
            match="32-bit pixels, whose white is unknown; save the photo with 8 or 16 unsigned bits",
        ):
            read(content)


def test_a_damaged_tiff_writes_nothing_to_stderr(capfd):
    content = saved(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)),
        "TIFF",
        compression="tiff_lzw",
    )
    with pytest.raises(ValueError, match="damaged image"):
        decode_photo(content[:300] + b"\xff" * 300 + content[600:])
    assert capfd.readouterr() == ("", "")


def png_with(kind: bytes, data: bytes) -> bytes:
    whole = png()
    return whole[:33] + chunk(kind, data) + whole[33:]


def transparent_palette() -> bytes:
    stream = io.BytesIO()
    Image.new("P", (40, 24)).save(stream, "PNG", transparency=b"\0\x80")
    return stream.getvalue()


def test_what_pillow_forgives_costs_neither_the_photo_nor_a_word():
    for content in (
        upright("JPEG", exif=exif(6, count=2**31)),
        upright("JPEG", exif=exif(1)[:-6]),
        png_with(b"acTL", bytes(8)),
        transparent_palette(),
        png_claiming(5000, 5000)[:33] + png()[33:],
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                assert decode_photo(content).mode == "RGB"
            except ValueError as error:
                assert "damaged image" in str(error)  # noqa: PT017
        assert told == []


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_records_of_an_archive_in_a_read_only_folder_leave_nothing_behind(
    tmp_path, monkeypatch, libver
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    records = [
        ("1.png", fields("5", [[4, 6, 6, 12]])),
        ("2.png", fields("12", [[4, 6, 6, 12], [10, 6, 6, 12]])),
    ]
    write_split(tmp_path / "raw", "train", {MAT: mat_bytes(tmp_path, records, libver)})
    (tmp_path / "raw").chmod(0o555)
    try:
        found = find_source(tmp_path / "raw", "train").records()
    finally:
        (tmp_path / "raw").chmod(0o755)
    assert [(record.name, record.digits) for record in found] == [
        ("1.png", (5,)),
        ("2.png", (1, 2)),
    ]
    assert not list((tmp_path / "tmp").iterdir())
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["train.tar.gz"]


def test_too_little_space_to_unpack_digit_struct_is_an_error(tmp_path, monkeypatch):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12"]))
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"digitStruct.mat needs .* TMPDIR"):
        find_source(tmp_path / "raw", "train").records()


def test_an_upright_photo_is_not_copied_and_a_turned_one_stays_as_it_is():
    image = Image.new("RGB", (40, 20))
    assert photos.upright(image) is image
    image.getexif()[ExifTags.Base.Orientation] = 6
    assert photos.upright(image).size == (20, 40)
    assert image.size == (40, 20)
