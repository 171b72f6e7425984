"""The photos and records of a split, from an archive and from a folder, whole and damaged."""

import gzip
import os
import tarfile

import numpy as np
import pytest
from archives import MAT, png, split_files, tar_gz, write_split

from svhn_jax.data import photos
from svhn_jax.data.records import Photo
from svhn_jax.data.sources import archive
from svhn_jax.data.sources.find import find_source
from svhn_jax.errors import InputError


def test_archive_and_folder_hold_the_same_photos_and_records(tmp_path):
    files = split_files(tmp_path, ["5", "120", "77"]) | {"notes.txt": b"no photo"}
    write_split(tmp_path / "a", "train", files)
    write_split(tmp_path / "b", "train", files, as_archive=False)
    for folder in ("a", "b"):
        source = find_source(tmp_path / folder, "train")
        expected = [Photo(name, files[name]) for name in ("1.png", "2.png", "3.png")]
        assert sorted(source.photos()) == expected
        digits = [(one.name, one.digits) for one in source.records()]
        assert digits == [("1.png", (5,)), ("2.png", (1, 2, 0)), ("3.png", (7, 7))]


def test_an_archive_goes_before_a_folder_of_the_same_split(tmp_path):
    write_split(tmp_path, "train", {"1.png": b"old"}, as_archive=False)
    write_split(tmp_path, "train", {"1.png": b"new"})
    assert list(find_source(tmp_path, "train").photos()) == [Photo("1.png", b"new")]


def test_only_members_of_the_split_folder_have_names_of_records(tmp_path):
    names = ["../x.png", "/train/x.png", "other/1.png", "train/sub/1.png", "./train/1.png"]
    tar_gz(tmp_path / "train.tar.gz", {name: b"" for name in names})
    found = [one.name for one in find_source(tmp_path, "train").photos()]
    assert found == ["../x.png", "/train/x.png", "other/1.png", "sub/1.png", "1.png"]


def test_links_and_oversized_photos_are_named_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_PHOTO_BYTES", 5)
    write_split(tmp_path, "train", {"1.png": "/etc/passwd", "2.png": b"123456", "3.png": b"12345"})
    link, large, good = find_source(tmp_path, "train").photos()
    assert (link.content, link.problem) == (b"", "not a regular file")
    assert (large.content, large.problem) == (b"", "larger than 5 bytes")
    assert good == Photo("3.png", b"12345")


def test_pipes_and_large_files_of_a_folder_are_named_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_PHOTO_BYTES", 150)
    write_split(tmp_path, "train", split_files(tmp_path, ["1", "2", "3", "4"]), as_archive=False)
    os.truncate(tmp_path / "train" / "1.png", 151)
    for name in ("2.png", "3.png"):
        (tmp_path / "train" / name).unlink()
    os.mkfifo(tmp_path / "train" / "2.png")
    found = {one.name: one.problem for one in find_source(tmp_path, "train").photos()}
    assert found["4.png"] == ""
    words = {"1.png": "larger", "2.png": "regular file", "3.png": "no such file"}
    assert all(word in found[name] for name, word in words.items())


@pytest.mark.parametrize(
    "mat",
    [{}, {f"train/{MAT}": "/etc/passwd"}, {f"other/{MAT}": b"x"}, {f"train/{MAT}": b"no HDF5"}],
)
def test_an_archive_without_a_readable_digit_struct_of_its_own_is_refused(tmp_path, mat):
    path = tar_gz(tmp_path / "train.tar.gz", {"train/1.png": png()} | mat)
    with pytest.raises(InputError, match=f"{path}.*{MAT}"):
        find_source(tmp_path, "train").records()


def header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def tar_of(*members: tuple[bytes, bytes]) -> bytes:
    """Headers as they are, each followed by its content, in blocks of 512 bytes, compressed."""
    blocks = (head + content + bytes(-len(content) % 512) for head, content in members)
    return gzip.compress(b"".join(blocks) + bytes(1024), 1)


NOISE = np.random.default_rng(0).bytes(50_000)
WHOLE = tar_of((header("train/1.png", 50_000), NOISE), (header(f"train/{MAT}", 3), b"abc"))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"junk" * 99, WHOLE[: len(WHOLE) // 2], WHOLE[:9], WHOLE[:-5]),
        WHOLE[:-8] + b"12345678",  # a wrong checksum
        tar_of((header("train/1.png", 10**12), b"short"), (header("train/2.png", 3), b"abc")),
    ],
)
def test_a_damaged_archive_is_one_line_that_names_it(tmp_path, content):
    (tmp_path / "train.tar.gz").write_bytes(content)
    source = find_source(tmp_path, "train")
    with pytest.raises(InputError, match=f"{source.path}: damaged or cut short"):
        list(source.photos())
