"""The command that renders archives: their layout, what it replaces, and how it is stopped."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
from archives import MAT, REPOSITORY, contents, tree, write_split

from svhn_jax import cli, synthesize
from svhn_jax.data.photos import decode_photo
from svhn_jax.data.sources.find import find_source
from svhn_jax.data.synthetic import archive as synthetic_archive

PHOTOS = {"train": 70, "extra": 5, "test": 3}  # more of train than the 64 of a task


def make(to, **options):
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return cli.call(synthesize.Options, synthesize.main, ["--to", str(to), *arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    assert make(folder, **PHOTOS) == 0
    return folder


def test_the_archives_have_the_published_layout_and_nothing_is_beside_them(made):
    assert sorted(contents(made)) == ["extra.tar.gz", "test.tar.gz", "train.tar.gz"]
    for split, count in PHOTOS.items():
        with tarfile.open(made / f"{split}.tar.gz") as archive:
            photos = [f"{split}/{number}.png" for number in range(1, count + 1)]
            assert archive.getnames() == [*photos, f"{split}/{MAT}"]


def test_every_photo_has_its_record_and_boxes_on_the_photo(made):
    source = find_source(made, "train")
    records, photos = source.records(), list(source.photos())
    assert [record.name for record in records] == [photo.name for photo in photos]
    for record, photo in zip(records, photos, strict=True):
        width, height = decode_photo(photo.content).size
        assert 1 <= len(record.digits) == len(record.boxes)
        assert (record.boxes[:, 2:] >= 2).all()
        low = record.boxes[:, :2].min(axis=0)
        high = (record.boxes[:, :2] + record.boxes[:, 2:]).max(axis=0)
        on_photo = np.prod(np.minimum(high, (width, height)) - np.maximum(low, 0))
        assert on_photo > 0.6 * np.prod(high - low)


def test_the_archive_is_the_same_byte_for_byte_from_two_processes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesize, "PHOTOS_PER_PROCESS", 1)
    assert make(tmp_path, train=70, test=0, jobs=2) == 0
    assert (tmp_path / "train.tar.gz").read_bytes() == (made / "train.tar.gz").read_bytes()


def test_a_second_run_touches_nothing(made, capsys):
    before = tree(made)
    make(made, **PHOTOS)
    assert capsys.readouterr().out.count("is up to date") == 3
    assert tree(made) == before


def test_another_count_seed_length_or_generator_makes_the_archive_anew(tmp_path, monkeypatch):
    made = set()
    for options in ({}, {"test": 3}, {"seed": 1}, {"max-digits": 6}):
        assert make(tmp_path, **({"train": 0, "test": 2} | options)) == 0
        made.add(contents(tmp_path)["test.tar.gz"])
    monkeypatch.setattr(synthetic_archive.render, "VERSION", 99)
    make(tmp_path, train=0, test=2)
    made.add(contents(tmp_path)["test.tar.gz"])
    assert len(made) == 5


def test_an_archive_of_other_photos_is_refused_and_kept(tmp_path, capsys):
    write_split(tmp_path, "test", {"1.png": b"of the published test split"})
    before = contents(tmp_path)
    assert make(tmp_path, train=2, test=2) == 1
    assert f"{tmp_path}/test.tar.gz" in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("option", "number"),
    [("--to", signal.SIGINT), ("--to", signal.SIGKILL), ("--arrays", signal.SIGTERM)],
)
def test_stopped_it_is_one_line_and_leaves_nothing(tmp_path, option, number):
    """SIGINT and SIGTERM to the parent alone; SIGKILL to a worker."""
    command = [sys.executable, "-m", "svhn_jax.synthesize", option, tmp_path / "made"]
    process = subprocess.Popen(
        [*command, "--train", "100000", "--jobs", "2"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not any(
            path.stat().st_size > 10_000 for path in tmp_path.rglob("*") if path.is_file()
        ):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if number == signal.SIGKILL:
            busy = psutil.Process(process.pid).children(recursive=True)
            max(busy, key=lambda one: sum(one.cpu_times()[:2])).kill()
        else:
            process.send_signal(number)
        printed = process.communicate(timeout=60)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (1 if number == signal.SIGKILL else 128 + number)
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--to a --train -1", "--train is -1"),
        ("--to a --train 0 --test 0", "nothing to make"),
        ("--to a --arrays b", "either --to"),
        ("", "either --to"),
        ("--arrays gs://bucket/set", "--arrays"),
    ],
)
def test_a_bad_option_is_named(tmp_path, monkeypatch, capsys, options, named):
    monkeypatch.chdir(tmp_path)
    assert cli.call(synthesize.Options, synthesize.main, options.split()) == 1
    assert named in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
