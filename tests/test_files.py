import errno
import fcntl
import os
import subprocess
import sys

import pytest
from archives import REPOSITORY

from svhn_jax import files
from svhn_jax.data import writing
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal


def test_a_lock_that_is_held_names_its_owner_until_it_is_released(tmp_path):
    path = tmp_path / "deep" / "lock"
    words = rf"deep: process {os.getpid()} on \S+ is at it$"
    with files.hold_lock(path, "is at it"), pytest.raises(InputError, match=words):
        files.hold_lock(path, "is at it")
    assert not files.is_locked(path)
    files.hold_lock(path, "is at it").close()


def test_a_killed_owner_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    code = f"import os; from svhn_jax import files; files.hold_lock(files.Path({str(path)!r}), '')"
    subprocess.run([sys.executable, "-c", code + "; os._exit(9)"], cwd=REPOSITORY, check=False)
    assert path.exists()
    files.hold_lock(path, "is at it").close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with files.hold_lock(tmp_path / "lock", "is at it", Terminal()):
        assert f"warning: {tmp_path}: this file system has no locks" in capsys.readouterr().out
        assert files.is_locked(tmp_path / "lock")


def test_a_folder_that_cannot_be_synced_is_let_pass(tmp_path, monkeypatch):
    def fail(number):
        def fsync(_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    fail(errno.EINVAL)
    files.write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"
    fail(errno.ENOSPC)
    with pytest.raises(OSError, match=r"No space left on device.*a\.txt"):
        files.write_text(tmp_path / "a.txt", "other")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a.txt", "text")]


def test_errors_of_writing_name_the_given_path(tmp_path, monkeypatch):
    def full_disk(path):
        raise OSError(28, "No space left on device", str(path))

    (tmp_path / "file").touch()
    inside, deep = tmp_path / "file" / "a.txt", tmp_path / "made" / "later"
    with pytest.raises(NotADirectoryError, match=str(inside)):
        files.write_text(inside, "text")
    with pytest.raises(NotADirectoryError, match=str(inside)):
        files.require_writable(inside)
    monkeypatch.setattr(files.Path, "touch", full_disk)
    with pytest.raises(OSError, match=str(deep)):
        files.require_writable(deep)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_trial_of_writing_leaves_nothing(tmp_path):
    for path in (tmp_path / "a.csv", tmp_path / "made" / "later", tmp_path):
        files.require_writable(path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_build_of_a_folder_names_it_and_leaves_nothing(tmp_path):
    def build():
        with writing.building(tmp_path / "set") as partial:
            raise PermissionError(13, "Permission denied", str(partial / "1.png"))

    with pytest.raises(PermissionError, match=str(tmp_path / "set")):
        build()
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_at_once_have_files_of_their_own(tmp_path):
    path = tmp_path / ("a" * 250)  # the longest names are written, too
    with files.replacing(path) as first, files.replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(path.name, "first")]
