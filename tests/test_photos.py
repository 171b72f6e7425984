"""The photos of a split, from an archive and from a folder, whole and damaged."""

import gzip
import hashlib
import io
import os
import struct
import tarfile
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from archives import MAT, png, split_files, tar_gz, write_split
from PIL import Image

from svhn_jax.data import archive, photos
from svhn_jax.data.photos import Photo, decode_photo
from svhn_jax.data.sources import find_source
from svhn_jax.errors import InputError


def test_archive_and_folder_hold_the_same_photos_and_records(tmp_path):
    files = split_files(tmp_path, ["5", "120", "77"]) | {"notes.txt": b"no photo", "4.JPG": b"any bytes"}
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
    tar_gz(tmp_path / "train.tar.gz", {"train/1.png": "/etc/passwd", "train/2.png": b"123456", "train/3.png": b"12345"})
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


@pytest.mark.parametrize("mat", [{}, {f"train/{MAT}": "/etc/passwd"}, {f"other/{MAT}": b"elsewhere"}])
def test_an_archive_without_its_own_digit_struct_is_refused(tmp_path, mat):
    path = tar_gz(tmp_path / "train.tar.gz", {"train/1.png": png()} | mat)
    with pytest.raises(InputError, match=f"{path}: no readable train/digitStruct.mat in it"):
        find_source(tmp_path, "train").records()


def test_a_damaged_digit_struct_names_the_archive_it_is_in(tmp_path):
    path = tar_gz(tmp_path / "train.tar.gz", {f"train/{MAT}": b"no HDF5"})
    with pytest.raises(InputError, match=str(path)):
        find_source(tmp_path, "train").records()


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"junk" * 99, lambda b: b[: len(b) // 2], lambda b: b[:9]])
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
    with pytest.raises(InputError, match=f"{path}: damaged or cut short .expands to more than {2**22} bytes"):
        list(find_source(tmp_path, "train").photos())


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE])
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
        tmp_path / "train.tar.gz", (header("train/1.png", size), b"short"), (header("train/2.png", 3), b"abc")
    )
    source = find_source(tmp_path, "train")
    for read in (lambda: list(source.photos()), source.records):
        with pytest.raises(InputError, match=f"{path}: damaged or cut short .a member of type b'0' and {size} bytes"):
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
    with pytest.raises(InputError, match="a member whose header is damaged: bad checksum"):
        list(find_source(tmp_path, "train").photos())


def test_headers_that_describe_one_another_without_end_are_refused(tmp_path):
    longer = (header("././@LongLink", 12, tarfile.GNUTYPE_LONGNAME), b"train/1.png\0")
    members(tmp_path / "train.tar.gz", *[longer] * 3000, (header("x", 3), b"abc"))
    with pytest.raises(InputError, match=r"damaged or cut short .maximum recursion depth"):
        list(find_source(tmp_path, "train").photos())


def test_an_archive_of_nothing_but_strangers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BAD_MEMBERS", 3)
    path = tar_gz(tmp_path / "train.tar.gz", {f"elsewhere/{i}.png": b"" for i in range(5)})
    with pytest.raises(InputError, match=f"{path}: more than 3 members that are no photos of train/"):
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
    changes = [(MAT, b"mat a"), (MAT, b"mat b"), ("1.png", b"longer"), ("1.png", b"LONGER"), ("2.png", b"new")]
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


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no readable PNG or JPEG"),
        (b"junk" * 50, "no readable PNG or JPEG"),
        (gzip.compress(png()), "no readable PNG or JPEG"),
        (png(size=(300, 200))[:-40], "damaged image"),
        (png()[:40], "image"),
        (png().replace(b"IDAT", b"IDAQ"), "image"),
        (png_claiming(8200, 8200), "8200 x 8200 pixels"),  # 67.2 million: just over the limit of 2**26
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


def upright(form: str, **options) -> bytes:
    """A photo, 40 x 20 as it lies in the file, whose left half is white."""
    image = Image.new("RGB", (40, 20))
    image.paste((255, 255, 255), (0, 0, 20, 20))
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"save_all": True, "append_images": [Image.new("RGB", (40, 20))]}])
def test_a_telephones_photo_is_turned_upright_also_with_a_second_picture_in_it(options):
    content = upright("MPO" if options else "JPEG", exif=exif(6), **options)
    image = decode_photo(content)
    assert image.size == photos.photo_size(content) == (20, 40)
    assert np.asarray(image)[:18].min() > 200
    assert np.asarray(image)[22:].max() < 50


def png_with(kind: bytes, data: bytes) -> bytes:
    whole = png()
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return whole[:33] + chunk + whole[33:]


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
