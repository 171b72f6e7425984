"""The photos and records of a split, from an archive and from a folder, whole and damaged."""

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from archives import MAT, fields, mat_bytes, png, split_files, tar_gz, write_split

from svhn_jax.data import photos
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
    found = list(find_source(tmp_path / "raw", "train").photos())
    assert [one.name for one in found] == [f"{number}.png" for number in range(2, 8)]
    assert [one.content for one in found] == [b"", b"", b"here", b"here", b"", b""]
    assert [bool(one.problem) for one in found] == [True, True, False, False, True, True]


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
