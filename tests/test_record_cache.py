"""The cache of a digitStruct.mat's records: used while it is sound, made anew when not, done without where it must be."""

import os
import subprocess
import sys

import numpy as np
import pytest
from archives import split_files, write_split

from svhn_jax.data import digit_struct, record_cache
from svhn_jax.data.digit_struct import BadRecord, Record
from svhn_jax.data.sources import find_source

RECORDS = [
    Record("1.png", (0,), np.array([[4.0, 5, 6, 7]])),
    BadRecord("Straße.png", "no box"),
    Record("2.png", (1, 0, 1), np.array([[-2.0, 5, 6, 7], [4, 5, 6, 7.25], [14, 5, 6, 7]])),
    BadRecord("record 4", "leads nowhere"),
]


def values(records):
    return [tuple(r) if isinstance(r, BadRecord) else (r.name, r.digits, r.boxes.tolist()) for r in records]


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], RECORDS[1:2], []])
def test_what_was_read_once_is_not_read_again(tmp_path, records):
    assert values(record_cache.get(tmp_path, "abc", lambda: records)) == values(records)
    assert values(record_cache.get(tmp_path, "abc", lambda: pytest.fail("read again"))) == values(records)
    assert [path.name for path in (tmp_path / ".records").iterdir()] == ["abc.npz"]
    assert record_cache.get(tmp_path, "other", lambda: []) == []


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    record_cache.get(tmp_path, "abc", lambda: RECORDS)
    path = tmp_path / ".records" / "abc.npz"
    path.write_bytes(path.read_bytes()[:-50] if damage is None else damage)
    assert values(record_cache.get(tmp_path, "abc", lambda: RECORDS[:1])) == values(RECORDS[:1])
    assert values(record_cache.get(tmp_path, "abc", lambda: pytest.fail("read again"))) == values(RECORDS[:1])


def test_a_cache_whose_columns_disagree_is_made_anew(tmp_path):
    record_cache.get(tmp_path, "abc", lambda: RECORDS)
    path = tmp_path / ".records" / "abc.npz"
    with np.load(path) as file:
        columns = dict(file)
    for change in ({"digits": columns["digits"] + 10}, {"names": columns["names"][1:]}, {"version": np.array(0)}):
        np.savez(path, **(columns | change))
        assert values(record_cache.get(tmp_path, "abc", lambda: RECORDS)) == values(RECORDS)


def test_a_read_only_folder_stays_as_it_is(tmp_path):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12"]))
    (tmp_path / "raw").chmod(0o555)
    try:
        assert len(find_source(tmp_path / "raw", "train").records()) == 2
        assert [path.name for path in (tmp_path / "raw").iterdir()] == ["train.tar.gz"]
    finally:
        (tmp_path / "raw").chmod(0o755)


def test_an_archive_is_unpacked_once_and_leaves_only_the_cache(tmp_path, monkeypatch):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12"]))
    first = find_source(tmp_path / "raw", "train").records()
    monkeypatch.setattr(digit_struct, "read", lambda *_, **__: pytest.fail("read again"))
    assert values(find_source(tmp_path / "raw", "train").records()) == values(first)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [".records", "train.tar.gz"]


def test_what_a_killed_process_left_unpacked_is_removed_and_what_a_living_one_uses_is_not(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from svhn_jax.data import record_cache\n"
        "with record_cache.temporary_file(Path(sys.argv[1])) as (file, name): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env=os.environ)
    assert len(list(tmp_path.iterdir())) == 1
    with (
        record_cache.temporary_file(tmp_path) as (_, first),
        record_cache.temporary_file(tmp_path) as (_, second),
    ):
        assert {str(path) for path in tmp_path.iterdir()} == {first, second}
    assert list(tmp_path.iterdir()) == []
