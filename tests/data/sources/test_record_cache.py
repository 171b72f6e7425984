"""The cache of a digitStruct.mat's records: used while it is sound, made anew when not, done without where it must be."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from archives import split_files, write_split

from svhn_jax.data.records import BadRecord, Record
from svhn_jax.data.sources import archive, digit_struct, record_cache
from svhn_jax.data.sources.find import find_source
from svhn_jax.errors import InputError

RECORDS = [
    Record("1.png", (0,), np.array([[4.0, 5, 6, 7]])),
    BadRecord("Straße.png", "no box"),
    Record("2.png", (1, 0, 1), np.array([[-2.0, 5, 6, 7], [4, 5, 6, 7.25], [14, 5, 6, 7]])),
    BadRecord("record 4", "leads nowhere"),
]


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "svhn_jax" / "records"


def values(records):
    return [tuple(r) if isinstance(r, BadRecord) else (r.name, r.digits, r.boxes.tolist()) for r in records]


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], RECORDS[1:2], []])
def test_what_was_read_once_is_not_read_again(tmp_path, records):
    assert values(record_cache.get("abc", lambda: records)) == values(records)
    assert values(record_cache.get("abc", lambda: pytest.fail("read again"))) == values(records)
    assert [path.name for path in (tmp_path / "svhn_jax" / "records").iterdir()] == ["abc.npz"]
    assert record_cache.get("other", lambda: []) == []


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    record_cache.get("abc", lambda: RECORDS)
    path = tmp_path / "svhn_jax" / "records" / "abc.npz"
    path.write_bytes(path.read_bytes()[:-50] if damage is None else damage)
    assert values(record_cache.get("abc", lambda: RECORDS[:1])) == values(RECORDS[:1])
    assert values(record_cache.get("abc", lambda: pytest.fail("read again"))) == values(RECORDS[:1])


CHANGES = {
    "more digits": lambda c: {"digits": c["digits"] + 10},
    "fewer names": lambda c: {"names": c["names"][1:]},
    "another version": lambda c: {"version": np.array(0)},
    "version of two": lambda c: {"version": np.array([1, 1])},
    "digits of numbers": lambda c: {"digits": c["digits"] + 0.5},
    "digits of nan": lambda c: {"digits": np.full(len(c["digits"]), np.nan)},
    "flags of numbers": lambda c: {"is_good": c["is_good"].astype(float)},
    "flags of structs": lambda c: {"is_good": np.zeros(4, [("a", "?")])},
    "names of bytes": lambda c: {"names": np.array([b"1.png"] * 4)},
    "one name for all": lambda c: {"names": np.array("1.png")},
    "boxes of three numbers": lambda c: {"boxes": c["boxes"][:, :3]},
    "boxes of nan": lambda c: {"boxes": c["boxes"] * np.nan},
    "boxes of no width": lambda c: {"boxes": c["boxes"] * 0},
    "counts of nothing": lambda c: {"counts": c["counts"][:0]},
    "a name for the terminal": lambda c: {"names": np.array(["\x1b[2J.png", *c["names"][1:]])},
    "a reason for the terminal": lambda c: {"reasons": np.array(["\x1b[2J", *c["reasons"][1:]])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_cache_whose_columns_are_not_those_of_records_is_made_anew(tmp_path, change):
    record_cache.get("abc", lambda: RECORDS)
    path = tmp_path / "svhn_jax" / "records" / "abc.npz"
    with np.load(path) as file:
        columns = dict(file)
    np.savez(path, **(columns | change(columns)))
    assert values(record_cache.get("abc", lambda: RECORDS[:1])) == values(RECORDS[:1])
    assert values(record_cache.get("abc", lambda: pytest.fail("read again"))) == values(RECORDS[:1])


def giant_array(path):
    """An array of which the header says that it has 8 TB."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<i8", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(path, "w") as new:
        for name, array in content.items():
            new.writestr(name, stream.getvalue() if name == "counts.npy" else array)


def packed(path):
    with np.load(path) as file:
        columns = dict(file)
    np.savez_compressed(path, **columns)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [giant_array, packed, pipe])
def test_a_cache_that_costs_more_than_it_saves_is_made_anew(tmp_path, damage):
    record_cache.get("abc", lambda: RECORDS)
    damage(tmp_path / "svhn_jax" / "records" / "abc.npz")
    assert values(record_cache.get("abc", lambda: RECORDS[:1])) == values(RECORDS[:1])
    assert values(record_cache.get("abc", lambda: pytest.fail("read again"))) == values(RECORDS[:1])


def test_a_read_only_folder_stays_as_it_is(tmp_path):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12"]))
    (tmp_path / "raw").chmod(0o555)
    try:
        assert len(find_source(tmp_path / "raw", "train").records()) == 2
        assert [path.name for path in (tmp_path / "raw").iterdir()] == ["train.tar.gz"]
    finally:
        (tmp_path / "raw").chmod(0o755)


def test_an_archive_is_unpacked_outside_its_folder(tmp_path, monkeypatch, user_cache):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12"]))
    read, places = digit_struct.read, []

    def note_place(path, called):
        places.append(Path(path).parent)
        return read(path, called)

    monkeypatch.setattr(digit_struct, "read", note_place)
    find_source(tmp_path / "raw", "train").records()
    assert places == [user_cache]


def test_too_little_space_to_unpack_is_told_before_it_is_used(tmp_path, monkeypatch, user_cache):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12"]))
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=f"{user_cache}: digitStruct.mat needs .* XDG_CACHE_HOME"):
        find_source(tmp_path / "raw", "train").records()
    assert list(user_cache.iterdir()) == []


def test_an_archive_is_unpacked_once_and_leaves_only_the_cache(tmp_path, monkeypatch):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12"]))
    first = find_source(tmp_path / "raw", "train").records()
    monkeypatch.setattr(digit_struct, "read", lambda *_, **__: pytest.fail("read again"))
    assert values(find_source(tmp_path / "raw", "train").records()) == values(first)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["train.tar.gz"]
    (tmp_path / "raw" / "train.tar.gz").rename(tmp_path / "raw" / "extra.tar.gz")
    with pytest.raises(InputError, match=r"no readable extra/digitStruct\.mat"):  # its records are those of train/
        find_source(tmp_path / "raw", "extra").records()


@pytest.mark.parametrize("home", ["missing", "read-only", "a file"])
def test_a_home_that_cannot_be_written_only_means_that_nothing_is_cached(tmp_path, monkeypatch, home):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if home == "read-only":
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / ".cache").mkdir()
        (tmp_path / "home" / ".cache" / "svhn_jax").mkdir(mode=0o555)
    elif home == "a file":
        (tmp_path / "home").write_text("")
    for _ in range(2):
        assert values(record_cache.get("abc", lambda: RECORDS)) == values(RECORDS)
    assert not list(tmp_path.rglob("*.npz"))
    assert (tmp_path / "home").exists() == (home != "missing")


def test_the_caches_used_last_are_kept(user_cache, monkeypatch):
    monkeypatch.setattr(record_cache, "MAX_FILES", 3)
    for place, key in enumerate("abcd"):
        record_cache.get(key, lambda: RECORDS)
        os.utime(user_cache / f"{key}.npz", ns=(place, place))
        record_cache.get("a", lambda: pytest.fail("read again"))  # used again, so the newest
    assert sorted(path.stem for path in user_cache.iterdir()) == ["a", "c", "d"]


def test_what_a_killed_process_left_unpacked_is_removed_and_what_a_living_one_uses_is_not(user_cache):
    code = (
        "import os; from svhn_jax.data.sources import record_cache\n"
        "with record_cache.temporary_file() as (file, name): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, env=os.environ)
    assert len(list(user_cache.iterdir())) == 1
    with (
        record_cache.temporary_file() as (_, first),
        record_cache.temporary_file() as (_, second),
    ):
        assert {str(path) for path in user_cache.iterdir()} == {first, second}
    assert list(user_cache.iterdir()) == []


def test_a_file_that_another_process_takes_for_a_leftover_before_it_is_locked_is_replaced(user_cache, monkeypatch):
    lock, taken = record_cache.fcntl.flock, []

    def lock_too_late(file, how):
        if not taken:
            taken.extend(user_cache.iterdir())
            taken[0].unlink()
        lock(file, how)

    monkeypatch.setattr(record_cache.fcntl, "flock", lock_too_late)
    with record_cache.temporary_file() as (_, name):
        assert [str(path) for path in user_cache.iterdir()] == [name]
        assert str(taken[0]) != name
