"""Which photos a command line names, and what is read of them."""

import io
import os
from types import SimpleNamespace

import pytest
from archives import png

from svhn_jax.data import photos
from svhn_jax.data.sources import named
from svhn_jax.errors import InputError

RED, BLUE = png((200, 0, 0)), png((0, 0, 200))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street" / "deeper").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "10.png", "9.heic", "notes.txt", "deeper/c.png"):
        (tmp_path / "street" / name).write_bytes(RED)
    return tmp_path / "street"


def test_a_folder_gives_its_own_photos_sorted_by_name(folder):
    (folder / "._b.png").write_bytes(b"macOS")
    names = ("10.png", "9.heic", "a.JPG", "b.png")
    assert named.find(["street/"]) == [f"street/{name}" for name in names]


def test_files_and_patterns_keep_the_order_of_the_command_line(folder):
    (folder / "[1].png").write_bytes(BLUE)
    assert named.find(["street/[1].png"]) == ["street/[1].png"]  # the file, no pattern
    (folder / "[1].png").unlink()
    found = named.find(["street/notes.txt", "street/*.png", "-", "street/a.JPG"])
    names = ["street/notes.txt", "street/10.png", "street/b.png", "-", "street/a.JPG"]
    assert found == names
    assert named.find(["**/c.png"]) == ["street/deeper/c.png"]


@pytest.mark.parametrize("pattern", ["street/**", "**/street/**/*", "str*/**/**"])
def test_a_recursive_pattern_gives_each_file_once_and_no_folder(folder, pattern):
    names = ("10.png", "9.heic", "a.JPG", "b.png", "deeper/c.png", "notes.txt")
    assert named.find([pattern]) == [f"street/{name}" for name in names]


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("street/deeper/none", "no such file or directory"),
        ("street/*.gif", "no such file or directory"),
        ("str*", "no such file or directory"),
        ("empty", "folder"),
        ("street/b.png/x.png", "not a directory"),
    ],
)
def test_an_argument_without_photos_is_in_the_list_and_reading_it_says_why(
    folder, argument, problem
):
    (folder.parent / "empty").mkdir()
    [one] = named.find([argument])
    with pytest.raises(ValueError, match=problem):
        named.read(one)


def test_standard_input_is_read_once(monkeypatch):
    monkeypatch.setattr(named.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(RED)))
    [one] = named.find(["-"])
    assert named.read(one) == RED
    with pytest.raises(InputError, match="- stands twice"):
        named.find(["-", "-"])


def test_pipes_folders_devices_and_large_files_are_no_photos(folder, monkeypatch):
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    for name in ("street/pipe.png", "street/folder.png", "/dev/zero"):
        with pytest.raises(ValueError, match="regular file"):
            named.read(name)
    monkeypatch.setattr(photos, "MAX_PHOTO_BYTES", len(RED) - 1)
    with pytest.raises(ValueError, match=f"larger than {len(RED) - 1} bytes"):
        named.read("street/b.png")
