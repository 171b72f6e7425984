import errno
import os
import subprocess
import sys

import pytest
from archives import REPOSITORY

from svhn_jax import errors, files
from svhn_jax.data import writing
from svhn_jax.errors import InputError
from svhn_jax.inference.reading_tables import CsvFile


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


def full_disk(path):
    raise OSError(28, "No space left on device", str(path))


def name_in_error(work):
    with pytest.raises(OSError) as caught:  # noqa: PT011 -- its file's name is the subject
        work()
    return caught.value.filename


def test_errors_of_writing_name_the_file_that_was_asked_for(tmp_path, monkeypatch):
    path, missing = tmp_path / "a.txt", tmp_path / "nowhere" / "a.txt"
    assert name_in_error(lambda: files.write_text(missing, "text")) == str(missing)
    (tmp_path / "file").touch()
    inside = tmp_path / "file" / "a.txt"
    assert name_in_error(lambda: files.write_text(inside, "text")) == str(inside)
    monkeypatch.setattr(files, "sync", full_disk)
    assert name_in_error(lambda: files.write_text(path, "text")) == str(path)
    monkeypatch.setattr(files.Path, "touch", full_disk)
    deep = tmp_path / "made" / "later"
    assert name_in_error(lambda: files.require_writable(deep)) == str(deep)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_what_can_be_written_is_tried_and_leaves_no_trial(tmp_path, monkeypatch):
    tried, touch = [], files.Path.touch
    monkeypatch.setattr(files.Path, "touch", lambda path: (tried.append(path.parent), touch(path)))
    for path in (tmp_path / "a.csv", tmp_path / "made" / "later", tmp_path):
        files.require_writable(path)
    assert tried == [tmp_path] * 3
    assert list(tmp_path.iterdir()) == []


def test_nothing_can_be_written_below_a_file(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(NotADirectoryError, match=r"a\.csv/made/later"):
        files.require_writable(tmp_path / "a.csv" / "made" / "later")


def test_a_full_disk_is_told_with_the_name_of_the_table(tmp_path):
    path = tmp_path / "readings.csv"
    assert name_in_error(CsvFile(files.Path("/dev/full"), path, 5).close) == str(path)
    assert name_in_error(lambda: CsvFile(tmp_path / "no" / "b.partial", path, 5)) == str(path)


@pytest.mark.parametrize(
    ("error", "is_renamed"),
    [
        (lambda partial: OSError(28, "No space left on device"), True),
        (
            lambda partial: OSError(
                28, "No space left on device", "photos/1.png", None, str(partial / "1.png")
            ),
            True,
        ),
        (lambda partial: PermissionError(13, "Permission denied", str(partial / "1.png")), True),
        (lambda partial: PermissionError(13, "Permission denied", "photos/1.png"), False),
    ],
    ids=["no name", "a copy", "a part", "a source"],
)
def test_a_folder_that_is_built_is_named_in_place_of_its_parts(tmp_path, error, is_renamed):
    def build():
        with writing.building(tmp_path / "set") as partial:
            raise error(partial)

    assert name_in_error(build) == (str(tmp_path / "set") if is_renamed else "photos/1.png")


def test_what_is_not_gone_on_with_is_deleted_on_a_full_disk(tmp_path):
    def build():
        with writing.building(tmp_path / "set", resumes=False) as partial:
            full_disk(partial / "a")

    assert name_in_error(build) == str(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_at_once_have_files_of_their_own(tmp_path):
    path = tmp_path / ("a" * 250)  # the longest names are written, too
    with files.replacing(path) as first, files.replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(path.name, "first")]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "Permission denied; give a path that you may use"),
        (errno.EROFS, "Read-only file system; give a path on another file system"),
        (errno.ENOENT, "No such file or directory; check the path"),
    ],
)
def test_an_error_of_the_system_is_one_line_with_the_remedy(capsys, number, words):
    def main():
        raise OSError(number, os.strerror(number), "out/a.csv")

    with pytest.raises(SystemExit) as end:
        errors.run_command(main)
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: out/a.csv: {words}")


# A folder that may not be read or written, even by root: the command begins without root's exemption.
READ_ONLY = f"""
import runpy, sys
sys.path.insert(0, {str(REPOSITORY / "tests/fuzz")!r})
from fuzz_run import heed_permissions
heed_permissions()
sys.argv = sys.argv[1:]
runpy.run_module(f"svhn_jax.{{sys.argv[0]}}", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("predict photos --whole --csv fixed/a.csv", "fixed/a.csv"),
        ("predict photos --whole --draw fixed/drawn", "fixed/drawn"),
        ("compare a.csv a.csv --csv fixed/b.csv", "fixed/b.csv"),
        ("report --data nowhere --to fixed/a.html", "fixed/a.html"),
        ("box photos --run nowhere --to fixed/boxed", "fixed/boxed"),
        ("publish --run nowhere --to fixed/weights", "fixed/weights"),
        ("train_finder --raw photos --work work --to fixed/finder", "fixed/finder"),
    ],
)
def test_a_read_only_folder_is_noticed_before_the_work(tmp_path, one_device_env, command, named):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "labels.csv").write_text("file,label\na.png,1\n")
    (tmp_path / "photos" / "a.png").touch()
    (tmp_path / "fixed").mkdir(mode=0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, *command.split()],
        cwd=tmp_path, env=one_device_env, capture_output=True, text=True,
    )  # fmt: skip
    wanted = f"error: {named}: Permission denied; give a path that you may use, or change the permissions of it and its folder\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", wanted)
