"""The command that renders photos: what it writes, what it refuses, and how it is stopped."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
from archives import REPOSITORY, contents

from svhn_jax import cli, synthesize
from svhn_jax.data.photos import decode_photo
from svhn_jax.data.sources.find import find_source

PHOTOS = {"train": 70, "extra": 5, "test": 3}  # more of train than the 64 of a task


def make(to, **options):
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return cli.call(synthesize.Options, synthesize.main, ["--to", str(to), *arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "raw"
    assert make(folder, **PHOTOS) == 0
    return folder


def test_every_photo_has_its_record_and_a_box_on_the_photo(made):
    for split, count in PHOTOS.items():
        source = find_source(made, split)
        records, photos = source.records(), list(source.photos())
        assert [record.name for record in records] == [f"{n}.png" for n in range(1, count + 1)]
        for record, photo in zip(records, photos, strict=True):
            assert record.name == photo.name
            assert len(record.digits) >= 1
            low, high = record.boxes[0, :2], record.boxes[0, :2] + record.boxes[0, 2:]
            on_photo = np.minimum(high, decode_photo(photo.content).size) - np.maximum(low, 0)
            assert np.prod(on_photo) > 0.6 * np.prod(high - low)


def test_the_photos_are_the_same_byte_for_byte_from_two_processes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesize, "PHOTOS_PER_PROCESS", 1)
    assert make(tmp_path, **PHOTOS, jobs=2) == 0
    assert contents(tmp_path) == contents(made)


def test_other_photos_are_refused_and_kept(made, capsys):
    before = contents(made)
    assert make(made, train=2, test=2) == 1
    assert str(made) in capsys.readouterr().err
    assert contents(made) == before


def _seconds_worked(pid):
    """Processor time of a process' children."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        return sum(sum(one.cpu_times()[:2]) for one in children)
    return 0


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
        while not any(tmp_path.iterdir()) or _seconds_worked(process.pid) < 4:
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
