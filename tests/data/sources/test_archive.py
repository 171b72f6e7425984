"""The photos and records of a split, from an archive and from a folder, whole and damaged."""

import gzip
import os
import tarfile
import tempfile
import tracemalloc

import numpy as np
import pytest
from archives import MAT, png, split_files, tar_gz, write_split

from svhn_jax.data import photos
from svhn_jax.data.records import Photo
from svhn_jax.data.sources import archive
from svhn_jax.data.sources.find import find_source
from svhn_jax.errors import InputError


def test_archive_and_folder_hold_the_same_photos_and_records(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    files = split_files(tmp_path, ["5", "120", "77"])
    files |= {"notes.txt": b"no photo", "4.JPG": b"any bytes"}
    write_split(tmp_path / "a", "train", files)
    write_split(tmp_path / "b", "train", files, as_archive=False)
    expected = [Photo(name, files[name]) for name in ("1.png", "2.png", "3.png", "4.JPG")]
    expected.append(Photo("notes.txt", b"", "not the name of a photo"))
    for folder in ("a", "b"):
        source = find_source(tmp_path / folder, "train")
        assert sorted(source.photos()) == expected
        digits = [(one.name, one.digits) for one in source.records()]
        assert digits == [("1.png", (5,)), ("2.png", (1, 2, 0)), ("3.png", (7, 7))]
    assert not list((tmp_path / "tmp").glob("*.mat"))


def test_an_archive_goes_before_a_folder_of_the_same_split(tmp_path):
    write_split(tmp_path, "train", {"1.png": b"old"}, as_archive=False)
    write_split(tmp_path, "train", {"1.png": b"new"})
    assert list(find_source(tmp_path, "train").photos()) == [Photo("1.png", b"new")]


def test_members_outside_the_split_folder_are_named_and_not_read(tmp_path):
    outside = [
        *("../x.png", "/train/x.png", "other/1.png", "x.png"),
        *("train/sub/1.png", "train/../../x.png", "a\x1b[2J.png"),
    ]
    members = {name: name.encode() for name in (*outside, "./train/1.png")}
    tar_gz(tmp_path / "train.tar.gz", members)
    *bad, good = find_source(tmp_path, "train").photos()
    assert bad == [Photo(name.replace("\x1b", "?"), b"", "not in train/") for name in outside]
    assert good == Photo("1.png", b"./train/1.png")


def test_links_and_oversized_photos_are_named_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_PHOTO_BYTES", 5)
    monkeypatch.setattr(archive, "MAX_PHOTO_BYTES", 5)
    members = {"1.png": "/etc/passwd", "2.png": b"123456", "3.png": b"12345"}
    write_split(tmp_path, "train", members)
    folder = tmp_path / "raw" / "train"
    (folder / "1.png").mkdir(parents=True)
    (folder / "2.png").write_bytes(b"123456")
    (folder / "3.png").write_bytes(b"12345")
    for name, target in (("4", "/etc/passwd"), ("5", "3.png"), ("6", "nowhere")):
        (folder / f"{name}.png").symlink_to(target)
    os.mkfifo(folder / "7.png")
    for raw, there, read in ((tmp_path, "123", "3"), (tmp_path / "raw", "234567", "35")):
        found = {one.name[0]: one for one in find_source(raw, "train").photos()}
        assert [*found] == [*there]
        assert [name for name, one in found.items() if not one.problem] == [*read]
        assert [name for name, one in found.items() if one.content == b"12345"] == [*read]


@pytest.mark.parametrize(
    "mat",
    [{}, {f"train/{MAT}": "/etc/passwd"}, {f"other/{MAT}": b"x"}, {f"train/{MAT}": b"no HDF5"}],
)
def test_an_archive_without_a_readable_digit_struct_of_its_own_is_refused(tmp_path, mat):
    path = tar_gz(tmp_path / "train.tar.gz", {"train/1.png": png()} | mat)
    with pytest.raises(InputError, match=f"{path}.*{MAT}"):
        find_source(tmp_path, "train").records()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def tar_of(*members: tuple[bytes, bytes]) -> bytes:
    """Headers as they are, each followed by its content, in blocks of 512 bytes, compressed."""
    blocks = (head + content + bytes(-len(content) % 512) for head, content in members)
    return gzip.compress(b"".join(blocks) + bytes(1024), 1)


NOISE = np.random.default_rng(0).bytes(50_000)
WHOLE = tar_of((header("train/1.png", 50_000), NOISE), (header(f"train/{MAT}", 3), b"abc"))
LONG_NAME = (header("././@LongLink", 12, tarfile.GNUTYPE_LONGNAME), b"train/1.png\0")
SECOND = (header("train/2.png", 3), b"abc")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk" * 99,
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:9],
        WHOLE[:-5],
        WHOLE[:-8] + b"12345678",  # a wrong checksum
        tar_of((header("train/1.png", 10**12), b"short"), SECOND),
        tar_of((header("train/1.png", -1), b"short"), SECOND),
        tar_of((header("train/2.png", 3).replace(b"train/2", b"train/7"), b"abc"), SECOND),
        tar_of(*[LONG_NAME] * 3000, SECOND),
    ],
)
def test_a_damaged_archive_is_one_line_that_names_it(tmp_path, content):
    (tmp_path / "train.tar.gz").write_bytes(content)
    source = find_source(tmp_path, "train")
    with pytest.raises(InputError, match=f"{source.path}: damaged or cut short"):
        list(source.photos())


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_giant_header_is_refused_before_it_is_read(tmp_path, kind):
    content = tar_of((header("train/1.png", 2**26, kind), bytes(2**26)))
    (tmp_path / "train.tar.gz").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{2**26} bytes"):
        list(find_source(tmp_path, "train").photos())
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
