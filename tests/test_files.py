import errno
import fcntl
import os
import subprocess
import sys

import pytest
from archives import REPOSITORY

from svhn_jax import files
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


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with files.hold_lock(tmp_path / "lock", "is at it", Terminal()):
        assert f"warning: {tmp_path}: this file system has no locks" in capsys.readouterr().out
        assert not files.is_locked(tmp_path / "lock")


def test_errors_of_writing_name_the_given_path_and_leave_nothing(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("old")
    inside = tmp_path / "file" / "a.txt"
    for write in (files.require_writable, lambda path: files.write_text(path, "text")):
        with pytest.raises(NotADirectoryError, match=str(inside)):
            write(inside)
    monkeypatch.setattr(files.Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match=str(tmp_path / "file")):
        files.write_text(tmp_path / "file", "text")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("file", "old")]


def test_two_writers_of_one_file_at_once_have_files_of_their_own(tmp_path):
    path = tmp_path / ("a" * 250)  # the longest names are written, too
    with files.replacing(path) as first, files.replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(path.name, "first")]
