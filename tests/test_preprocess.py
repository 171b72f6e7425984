"""python -m svhn_jax.preprocess: which numbers end in which split, and what becomes of the rest."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from archives import (
    MAT,
    REPOSITORY,
    color_of,
    contents,
    fields,
    mat_bytes,
    png,
    run_python,
    split_files,
    tree,
    write_split,
)

from svhn_jax import cli, labels, preprocess
from svhn_jax.data import arrays, preparing
from svhn_jax.data.records import Photo
from svhn_jax.data.writing import choose_validation

TRAIN = [str(n) for n in [*range(1, 10), *range(10, 40), *range(100, 119), 123456]]
EXTRA = [str(n) for n in range(40, 60)]
TEST = ["7", "31", "270", "4711", "98765"]


def call(raw, to, *options):
    arguments = ["--raw", raw, "--to", to, *options]
    return cli.call(preprocess.Options, preprocess.main, list(map(str, arguments)))


def prepare(raw, to, *options):
    """The manifest of the command, run in this process."""
    assert call(raw, to, *options) == 0
    return json.loads((to / "manifest.json").read_text())


def numbers_of(folder, split):
    return [labels.decode(label) for label in arrays.load_split(folder, split).labels]


@pytest.fixture
def raw(tmp_path):
    for split, numbers in (("train", TRAIN), ("extra", EXTRA), ("test", TEST)):
        write_split(tmp_path / "raw", split, split_files(tmp_path, numbers))
    return tmp_path / "raw"


@pytest.fixture
def small(tmp_path):
    write_split(tmp_path / "raw", "test", split_files(tmp_path, TEST))
    return tmp_path / "raw"


def test_every_number_lands_once_with_its_own_image_label_and_name(raw, tmp_path):
    manifest = prepare(raw, tmp_path / "set", "--size", 16, "--validation-fraction", 0.1)
    # a tenth, rounded down, of train's 9, 30 and 19 and of extra's 20: 0 + 3 + 1 + 2
    counts = {split: entry["examples"] for split, entry in manifest["splits"].items()}
    assert counts == {"train": 59 + 20 - 6, "validation": 6, "test": 5}
    assert manifest["splits"]["validation"]["lengths"] == {"2": 5, "3": 1}
    assert {name: source["kept"] for name, source in manifest["sources"].items()} == {
        **{"train": 59, "extra": 20},
        "test": 5,
    }
    seen = []
    for split in arrays.SPLITS:
        images, targets, names, *_ = arrays.load_split(tmp_path / "set", split)
        assert images.shape == (len(names), 16, 16, 3)
        for image, label, name in zip(images, targets, names, strict=True):
            source, file = name.decode().split("/")
            numbers = {"train": TRAIN, "extra": EXTRA, "test": TEST}[source]
            number = numbers[int(file.removesuffix(".png")) - 1]
            assert labels.decode(label) == (number if len(number) < 6 else number[:5] + "+")
            assert (image == color_of(number)).all()
            assert (source == "test") == (split == "test")
            seen.append(name)
    assert len(seen) == len(set(seen)) == 59 + 20 + 5


def test_the_published_counts_give_11782_validation_numbers():
    counts = {
        "train": (5137, 18130, 8691, 1434, 9, 1),
        "extra": (9385, 71726, 106789, 14338, 115, 0),
    }
    lengths = {split: np.repeat(np.arange(1, 7), by_length) for split, by_length in counts.items()}
    chosen = choose_validation(lengths, 0.05, seed=0, max_digits=5)
    held_out = {
        split: np.bincount(lengths[split][chosen[split]], minlength=7)[1:].tolist()
        for split in lengths
    }
    assert held_out == {"train": [256, 906, 434, 71, 0, 0], "extra": [469, 3586, 5339, 716, 5, 0]}
    assert sum(map(sum, held_out.values())) == 11_782


def test_the_choice_depends_on_the_seed_and_the_split_and_on_no_other_length():
    def choose(lengths, split="train", seed=3, max_digits=5):
        return choose_validation({split: np.array(lengths)}, 0.2, seed, max_digits)[split].tolist()

    assert choose([2] * 50) == choose([2] * 50)
    assert choose([2] * 50) != choose([2] * 50, seed=4)
    assert choose([2] * 50) != choose([2] * 50, split="extra")
    assert choose([2] * 50 + [3] * 50)[:50] == choose([2] * 50)
    assert sum(choose([2] * 14)) == 2
    assert not any(choose([0] * 50 + [6] * 50))
    assert sum(choose([0] * 50 + [6] * 50, max_digits=6)) == 10
    assert sum(choose([2] * 4)) == 1  # less than one number: one is held out


def test_whatever_cannot_be_used_is_named_with_the_reason(tmp_path):
    box = [[4.0, 6, 6, 12]]
    records = [
        ("good.png", fields("1", box)),
        ("gone.png", fields("2", box)),
        ("torn.png", fields("3", box)),
        ("good.png", fields("4", box)),
        ("boxless.png", {}),
        ("outside.png", fields("5", [[400, 6, 6, 12]])),
        ("long.png", fields("654321", [[1.0 + 6 * i, 6, 6, 12] for i in range(6)])),
        ("edge.png", fields("6", [[-2.0, 6, 10, 12]])),
    ]
    numbers = {"good": "1", "outside": "5", "long": "65432", "edge": "6", "stranger": "7"}
    files = {f"{name}.png": png(color_of(number)) for name, number in numbers.items()}
    files |= {"torn.png": png(size=(300, 200))[:-40], "boxless.png": png()}
    mat = {MAT: mat_bytes(tmp_path, records)}
    write_split(tmp_path / "raw", "test", files | mat, as_archive=False)
    source = prepare(tmp_path / "raw", tmp_path / "set")["sources"]["test"]
    reasons = {(entry["name"], entry["reason"].split(" (")[0]) for entry in source["skipped"]}
    assert reasons == {
        ("good.png", "a second record of that name"),
        ("gone.png", "no such file or directory"),
        ("torn.png", "damaged image"),
        ("boxless.png", "no box: its bbox has no field label"),
        ("outside.png", "its boxes lie outside the photo of 40 x 24 pixels"),
    }
    assert len(source["skipped"]) == 5
    assert source["kept"] == 3
    assert numbers_of(tmp_path / "set", "test") == ["1", "65432+", "6"]
    shown = arrays.load_split(tmp_path / "set", "test").images[:, 32, 32]
    assert shown.tolist() == [list(color_of(number)) for number in ("1", "65432", "6")]


def test_a_split_without_one_usable_record_is_refused_naming_the_first(tmp_path, capsys):
    files = {"1.png": png(), MAT: mat_bytes(tmp_path, [("1.png", {})])}
    write_split(tmp_path / "raw", "test", files)
    assert call(tmp_path / "raw", tmp_path / "set") == 1
    assert f"error: {tmp_path}/raw/test.tar.gz: " in (printed := capsys.readouterr().err)
    assert "1.png: no box" in printed


def test_archive_or_folder_and_any_number_of_jobs_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "PHOTOS_PER_BLOCK", 4)  # several blocks
    monkeypatch.setattr(preparing, "PHOTOS_PER_PROCESS", 1)
    files = split_files(tmp_path, TRAIN)
    write_split(tmp_path / "packed", "train", files)
    write_split(tmp_path / "unpacked", "train", files, as_archive=False)
    write_split(tmp_path / "backwards", "train", dict(reversed(files.items())))
    (tmp_path / "plain").mkdir()  # as a browser unpacks it
    packed = (tmp_path / "packed" / "train.tar.gz").read_bytes()
    (tmp_path / "plain" / "train.tar.gz").write_bytes(gzip.decompress(packed))
    (tmp_path / "tar").mkdir()
    (tmp_path / "tar" / "train.tar").write_bytes(gzip.decompress(packed))
    sources = {"packed": (1, 2), "unpacked": (2,), "backwards": (1,), "plain": (1,), "tar": (1,)}
    made = []
    for source, jobs in ((source, jobs) for source, many in sources.items() for jobs in many):
        to = tmp_path / f"{source}{jobs}"
        prepare(tmp_path / source, to, "--jobs", jobs, "--validation-fraction", 0.3)
        made.append({k: v for k, v in contents(to).items() if k.endswith(".npy")})
    assert len(made[0]) == 10
    assert all(one == made[0] for one in made)


def test_max_digits_makes_longer_labels(raw, tmp_path):
    options = ("--size", 16, "--validation-fraction", 0.5)
    write_split(raw, "train", split_files(tmp_path, [*TRAIN, "7654321"]))
    eight = prepare(raw, tmp_path / "set", *options, "--max-digits", 8)
    assert eight["max_digits"] == 8
    assert arrays.load_split(tmp_path / "set", "test").labels.shape[1] == 9
    assert {"123456", "7654321"} < {*numbers_of(tmp_path / "set", "train")}
    prepare(raw, tmp_path / "set", *options, "--max-digits", 6)
    assert "765432+" in numbers_of(tmp_path / "set", "train")


def test_a_run_that_fails_leaves_the_old_set_whole(small, tmp_path, capsys):
    prepare(small, tmp_path / "set")
    made = tree(tmp_path / "set")
    archive = small / "test.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-400])
    assert call(small, tmp_path / "set") == 1
    assert f"error: {archive}: damaged" in capsys.readouterr().err
    assert tree(tmp_path / "set") == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "set"]


CRASHING = """
import os
from svhn_jax.data import photos
photos.decode_photo = lambda content: os.kill(os.getpid(), {signal})
"""


@pytest.fixture
def running(small, tmp_path):
    """Starts the command, whose worker gets that signal at its first photo."""
    started = []

    def start(dies_of):
        (tmp_path / "site").mkdir()
        code = CRASHING.format(signal=int(dies_of))
        (tmp_path / "site" / "sitecustomize.py").write_text(code)
        command = ["-m", "svhn_jax.preprocess", "--raw", small, "--to", tmp_path / "set"]
        environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{tmp_path / 'site'}"}
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_decoder_that_crashes_is_one_line_that_names_the_archive(running, small, tmp_path):
    process = running(signal.SIGSEGV)
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert printed.startswith(f"error: {small}/test.tar.gz: a worker process crashed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "site"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_it_leaves_no_process_and_the_next_run_starts_again(
    running, small, tmp_path, number
):
    """The signal goes to the parent alone, while a worker does not move."""
    process = running(signal.SIGSTOP)
    deadline, stopped = time.monotonic() + 60, []
    while not stopped:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        stopped = [one for one in psutil.process_iter() if is_of(one, process) and is_stopped(one)]
    process.send_signal(number)
    if number == signal.SIGKILL:
        stopped[0].resume()
    process.communicate(timeout=20)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    while any(is_of(one, process) for one in psutil.process_iter()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "set").exists()
    prepare(small, tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "set", "site"]


def is_of(one, session):
    with suppress(ProcessLookupError):
        return os.getsid(one.pid) == session.pid
    return False


def is_stopped(one):
    with suppress(psutil.NoSuchProcess):
        return one.status() == psutil.STATUS_STOPPED
    return False


def test_few_large_photos_are_in_flight_at_once(monkeypatch):
    monkeypatch.setattr(preparing, "BYTES_PER_BLOCK", 100)
    sizes = [60, 60, 10, 10, 300, 5]
    photos = [(Photo("", bytes(size)), row) for row, size in enumerate(sizes)]
    account = SimpleNamespace(records=[None] * 6, photos=lambda: photos)
    blocks = [[len(content) for _, _, content in block] for block in preparing._blocks(account)]
    assert blocks == [[60, 60], [10, 10, 300], [5]]


def test_too_little_space_is_an_error_before_anything_is_cropped(
    small, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=400_000))
    assert call(small, tmp_path / "set", "--size", 256) == 1
    assert "GB are free" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("name", ["thesis.txt", "manifest.json"])
def test_a_folder_of_something_else_is_refused_and_kept(small, tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text('{"name": "my web page"}')
    assert call(small, tmp_path / "mine") == 1
    assert contents(tmp_path / "mine") == {name: b'{"name": "my web page"}'}


def test_the_photos_themselves_are_never_the_target(tmp_path):
    write_split(tmp_path / "raw", "test", split_files(tmp_path, TRAIN), as_archive=False)
    before = contents(tmp_path)
    for target in ("raw", "raw/test", "."):
        assert call(tmp_path / "raw", tmp_path / target) == 1
    assert contents(tmp_path) == before


def test_splits_names_the_sources_to_read(raw, tmp_path, capsys):
    assert list(prepare(raw, tmp_path / "set", "--splits", "test")["splits"]) == ["test"]
    (raw / "extra.tar.gz").unlink()
    assert call(raw, tmp_path / "set", "--splits", "train", "extra") == 1
    assert "extra.tar.gz" in capsys.readouterr().err


def test_a_folder_that_holds_no_split_is_named_with_a_remedy(small, tmp_path, capsys):
    write_split(tmp_path / "folders", "test", split_files(tmp_path, TEST), as_archive=False)
    (tmp_path / "empty").mkdir()
    for folder, named in (
        ("nowhere", "no such folder"),
        ("raw/test.tar.gz", "no such folder"),
        ("empty", "svhn_jax.download"),
        ("folders/test", f"--raw {tmp_path}/folders --splits test"),
    ):
        assert call(tmp_path / folder, tmp_path / "set") == 1
        assert named in (printed := capsys.readouterr().err)
        assert printed.count("\n") == 1


def test_a_bad_option_is_one_line_on_stderr(small, tmp_path, capsys):
    options = {"margin": -0.1, "size": 7, "validation-fraction": 1.0, "jobs": 0, "seed": -1}
    for option, value in options.items():
        assert call(small, tmp_path / "set", f"--{option}", value) == 1
        assert capsys.readouterr().err.startswith(f"error: --{option} is {value}")
    for to in ("gs://bucket/set", "AZ:/set", "file:///set"):
        assert cli.call(preprocess.Options, preprocess.main, ["--raw", str(small), "--to", to]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_the_data_commands_load_no_jax():
    code = "import sys, svhn_jax.preprocess, svhn_jax.synthesize; print('jax' in sys.modules)"
    assert run_python("-c", code).stdout == "False\n"
