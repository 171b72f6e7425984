import os
import subprocess
import sys

import pytest
from archives import REPOSITORY

from svhn_jax import files
from svhn_jax.errors import InputError


def test_a_lock_that_is_held_names_its_owner_until_it_is_let_go(tmp_path):
    path = tmp_path / "deep" / "lock"
    words = rf"^PLACE: process {os.getpid()} on \S+ is at it$"
    with files.hold_lock(path, "PLACE", "is at it"), pytest.raises(InputError, match=words):
        files.hold_lock(path, "PLACE", "is at it")
    files.hold_lock(path, "PLACE", "is at it").close()


def test_a_killed_owner_holds_nothing(tmp_path):
    code = f"import os; from svhn_jax import files; files.hold_lock(files.Path({str(tmp_path / 'lock')!r}), 'a', 'b'); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert (tmp_path / "lock").exists()
    files.hold_lock(tmp_path / "lock", "PLACE", "is at it").close()


def test_what_cannot_be_locked_is_not_tried_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_is_still_at", lambda *_: False)
    with pytest.raises(InputError, match="cannot be locked"):
        files.hold_lock(tmp_path / "lock", "PLACE", "is at it")


def test_a_folder_that_takes_no_files_is_an_error_at_once():
    with pytest.raises(OSError, match=r"No such file|ermission"):
        files.hold_lock(files.Path("/proc/.set.lock"), "PLACE", "is at it")
