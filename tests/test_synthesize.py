"""The command that renders archives: their layout, what it may replace, and how it ends when it is stopped."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from archives import MAT, REPOSITORY, assert_one_error_line, contents, run_python, tree, write_split

from svhn_jax import synthesize
from svhn_jax.data.photos import decode_photo
from svhn_jax.data.sources.find import find_source
from svhn_jax.data.synthetic import archive as synthetic_archive
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError

PHOTOS = {"train": 70, "extra": 5, "test": 3}  # more than a task's 64 of train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command makes, as a user runs it."""
    folder = tmp_path_factory.mktemp("raw")
    options = [word for split, count in PHOTOS.items() for word in (f"--{split}", count)]
    finished = run_python("-m", "svhn_jax.synthesize", "--to", folder, *options)
    assert (finished.returncode, finished.stderr) == (0, "")
    return folder


def make(monkeypatch, to, **options):
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["synthesize", "--to", str(to), *arguments])
    synthesize.main()


def test_the_archives_have_the_published_layout_and_nothing_lies_beside_them(made):
    assert sorted(path.name for path in made.iterdir()) == [
        "extra.tar.gz",
        "test.tar.gz",
        "train.tar.gz",
    ]
    for split, count in PHOTOS.items():
        with tarfile.open(made / f"{split}.tar.gz") as archive:
            photos = [f"{split}/{number}.png" for number in range(1, count + 1)]
            assert archive.getnames() == [*photos, f"{split}/{MAT}"]


def test_every_photo_has_its_record_and_boxes_on_the_photo(made):
    source = find_source(made, "train")
    records, photos = source.records(), list(source.photos())
    assert [record.name for record in records] == [photo.name for photo in photos]
    assert [record.name for record in records] == [
        f"{number}.png" for number in range(1, PHOTOS["train"] + 1)
    ]
    for record, photo in zip(records, photos, strict=True):
        width, height = decode_photo(photo.content).size
        assert 1 <= len(record.digits) == len(record.boxes)
        assert (record.boxes[:, 2:] >= 2).all()
        low = record.boxes[:, :2].min(axis=0)
        high = (record.boxes[:, :2] + record.boxes[:, 2:]).max(axis=0)
        on_photo = np.prod(np.minimum(high, (width, height)) - np.maximum(low, 0))
        assert on_photo > 0.6 * np.prod(high - low)


def test_the_archive_is_the_same_byte_for_byte_from_two_processes(made, tmp_path):
    with Workers(2) as workers:
        synthetic_archive.write(
            tmp_path / "train.tar.gz",
            "train",
            70,
            seed=0,
            max_digits=5,
            workers=workers,
            advance=lambda photos: None,
        )
    assert (tmp_path / "train.tar.gz").read_bytes() == (made / "train.tar.gz").read_bytes()


def test_a_second_run_touches_nothing(made, monkeypatch, capsys):
    before = tree(made)
    make(monkeypatch, made, **PHOTOS)
    assert capsys.readouterr().out.count("is up to date") == 3
    assert tree(made) == before


def test_another_count_or_seed_makes_the_archive_anew(tmp_path, monkeypatch):
    made = []
    for options in (
        {"test": 2},
        {"test": 3},
        {"test": 3, "seed": 1},
        {"test": 3, "seed": 1, "max-digits": 6},
    ):
        make(monkeypatch, tmp_path, train=0, **options)
        made.append(contents(tmp_path))
    assert [list(files) for files in made] == [["test.tar.gz"]] * 4
    assert len({files["test.tar.gz"] for files in made}) == 4


def test_photos_of_another_generator_are_made_anew(tmp_path, monkeypatch, capsys):
    make(monkeypatch, tmp_path, train=0, test=2)
    monkeypatch.setattr(synthetic_archive.render, "VERSION", 99)
    make(monkeypatch, tmp_path, train=0, test=2)
    assert "up to date" not in capsys.readouterr().out


def test_a_run_that_is_interrupted_leaves_what_stood_there(tmp_path, monkeypatch):
    make(monkeypatch, tmp_path, train=2, test=0)
    before = contents(tmp_path)
    added = []

    def interrupt(archive, name, size, content):
        added.append(name)
        if len(added) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(synthetic_archive, "_add", interrupt)
    for split, options in (("train", {"train": 5, "test": 0}), ("test", {"train": 0, "test": 5})):
        added.clear()
        with pytest.raises(KeyboardInterrupt):
            make(monkeypatch, tmp_path, **options)
        assert added == [f"{split}/{i}.png" for i in (1, 2, 3)]
        assert contents(tmp_path) == before


def test_an_archive_of_anothers_making_is_refused_and_kept(tmp_path, monkeypatch):
    write_split(tmp_path, "test", {"1.png": b"of the published test split"})
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"test\.tar\.gz"):
        make(monkeypatch, tmp_path, train=2, test=2)
    assert contents(tmp_path) == before


def running(folder, *options):
    """The command at work in two processes, by the time that it has begun to write."""
    command = [
        sys.executable,
        "-m",
        "svhn_jax.synthesize",
        *options,
        "--train",
        "100000",
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = time.monotonic()
    while not any(path.stat().st_size > 10_000 for path in folder.rglob("*") if path.is_file()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - started < 60
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("option", ["--to", "--arrays"])
def test_sigterm_is_one_line_and_leaves_nothing(tmp_path, option):
    process = running(tmp_path, option, str(tmp_path / "made"))
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (143, "", "error: ended by SIGTERM\n")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("option", ["--to", "--arrays"])
def test_ctrl_c_is_one_line_and_leaves_nothing(tmp_path, option):
    process = running(tmp_path, option, str(tmp_path / "made"))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and to its processes
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "error: interrupted\n")
    assert contents(tmp_path) == {}


def test_a_process_that_is_killed_is_one_line_and_leaves_nothing(tmp_path):
    process = running(tmp_path, "--to", str(tmp_path / "made"))
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: a worker process was killed, perhaps for lack of memory")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": -1}, "--train is -1; it must be at least 0"),
        ({"extra": -1}, "--extra is -1; it must be at least 0"),
        ({"test": -1}, "--test is -1; it must be at least 0"),
        ({"seed": -1}, "--seed is -1; it must be at least 0"),
        ({"jobs": 0}, "--jobs is 0; it must be at least 1"),
        ({"size": 7}, "--size is 7; it must be 8 to 512"),
        ({"margin": -0.1}, "--margin is -0.1; it must be 0 to 10"),
        ({"validation_fraction": 1.0}, "--validation-fraction is 1.0; it must be at least 0"),
        ({"train": 0, "test": 0}, "nothing to make"),
        ({"arrays": REPOSITORY}, "either --to for archives or --arrays for a prepared data set"),
        ({"to": None}, "either --to for archives or --arrays for a prepared data set"),
    ],
)
def test_a_bad_option_is_named(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        synthesize.Options(**({"to": tmp_path} | options))


def test_a_bad_option_is_one_line_on_stderr(tmp_path):
    finished = run_python("-m", "svhn_jax.synthesize", "--to", tmp_path / "raw", "--jobs", 0)
    assert_one_error_line(finished)
    assert not (tmp_path / "raw").exists()
