"""The fuzzer of tests/fuzz/: a few inputs of every kind, and that its verdicts are what they should be."""

import gzip
import importlib
import json
import random
import sys

import pytest
from archives import MAT, REPOSITORY, png, run_python, split_files, tar_gz, write_split

from svhn_jax import preprocess

FUZZ = REPOSITORY / "tests/fuzz"


@pytest.fixture
def fuzz(monkeypatch):
    """Imports a module of the fuzzer by its name."""
    monkeypatch.syspath_prepend(str(FUZZ))
    return importlib.import_module


def test_sixty_damaged_and_hostile_inputs_do_no_harm():
    finished = run_python(FUZZ / "fuzz_data.py", "--inputs", "60", "--seed", "1")
    figures = json.loads(finished.stdout.splitlines()[-1])
    assert (finished.returncode, figures["inputs"], figures["failures"]) == (0, 60, 0), (
        finished.stdout
    )
    assert figures["ok"] + figures["refused"] == 60
    assert len(figures["kinds"]) == 17


@pytest.fixture
def scene(fuzz, tmp_path):
    """An input, nothing wrong with it, of three photos."""
    module = fuzz("fuzz_scene")
    files = split_files(tmp_path, ["5", "12", "77"])
    material = module.Material(files, [], {"ours": module.Mat(files[MAT], (), (), 0)}, tmp_path)
    made = module.Scene(tmp_path / "case", random.Random(0), material)
    made.set_up()
    made.split = "test"
    write_split(made.raw, "test", files, as_archive=False)
    return made


def run_of(fuzz, status, stderr="", stdout="", **named):
    values = {"seconds": 1.0, "megabytes": 100.0, "is_late": False} | named
    return fuzz("fuzz_run").Run(status=status, stdout=stdout, stderr=stderr, **values)


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({"status": 1, "stderr": "error: that will not do\n"}, None),
        ({"status": 1, "stderr": "error: one\nerror: two\n"}, "not one line of error"),
        ({"status": 1, "stderr": ""}, "not one line of error"),
        ({"status": 1, "stderr": "error: a\x1b[2J.png\n"}, "control characters"),
        (
            {"status": 1, "stderr": "Traceback (most recent call last):\nKeyError: 7\n"},
            "a traceback: KeyError: 7",
        ),
        ({"status": -11}, "ended with status -11"),
        ({"status": 2, "stderr": "error: x\n"}, "ended with status 2"),
        ({"status": 1, "stderr": "error: x\n", "is_late": True}, "took more than 10 s"),
        ({"status": 1, "stderr": "error: x\n", "megabytes": 2001.0}, "took 2001 MB"),
    ],
)
def test_how_a_command_ends_is_judged(fuzz, scene, how, verdict):
    module = fuzz("fuzz_verdict")
    found = module.problems(scene, module.snapshot(scene), run_of(fuzz, **how))
    assert [words[: len(verdict or "")] for words in found[:1]] == ([verdict] if verdict else []), (
        found
    )


def test_details_belong_to_a_table_of_labels(fuzz, scene):
    module = fuzz("fuzz_verdict")
    run = run_of(fuzz, 1, "error: 1 of its rows cannot be used\nline 2: no\n")
    assert module.problems(scene, module.snapshot(scene), run) == ["more than one line of error"]
    (scene.raw / "labels.csv").write_text("file,label\nx\n")
    assert module.problems(scene, module.snapshot(scene), run) == []


def test_what_is_touched_outside_the_target_is_told(fuzz, scene):
    module = fuzz("fuzz_verdict")
    before = module.snapshot(scene)
    (scene.outside / "secret.txt").write_text("changed")
    (scene.outside / "1.png").unlink()
    (scene.tmp / "left").write_text("")
    partial = scene.to.with_name(".set.partial")
    partial.mkdir()
    scene.to.mkdir()
    assert module.problems(scene, before, run_of(fuzz, 1, "error: x\n")) == [
        "created 'out/set'",
        "removed 'outside/1.png'",
        "changed 'outside/secret.txt'",
        "created 'tmp/left'",
    ]


def change_manifest(scene, change):
    path = scene.to / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest["sources"]["test"])
    path.write_text(json.dumps(manifest))


def test_a_set_that_does_not_account_for_everything_is_told(fuzz, scene, monkeypatch):
    module = fuzz("fuzz_verdict")
    (scene.raw / "test" / "2.png").write_bytes(b"damaged")
    (scene.raw / "test" / "9.png").write_bytes(png())
    before = module.snapshot(scene)
    monkeypatch.setattr(
        sys, "argv", ["preprocess", "--raw", str(scene.raw), "--to", str(scene.to), "--jobs", "1"]
    )
    preprocess.main()
    fine = run_of(fuzz, 0)
    assert module.problems(scene, before, fine) == []
    change_manifest(scene, lambda source: source["skipped"].clear())
    assert module.problems(scene, before, fine) == [
        "1 records of '2.png', 0 kept, 0 skipped",
        "1 photos '2.png', 0 kept, 0 skipped",
        "1 photos '9.png', 0 kept, 0 skipped",
    ]
    change_manifest(scene, lambda source: source.update(kept=3))
    assert module.problems(scene, before, fine)[0].startswith("test: 3 kept, says the manifest")
    scene.records = 4
    assert "3 records where 4 were written" in module.problems(scene, before, fine)
    (scene.to / "test" / "images.npy").write_bytes(
        (scene.to / "test" / "images.npy").read_bytes()[:-1] + b"\7"
    )
    assert "images.npy is not as the manifest says" in module.problems(scene, before, fine)


def test_names_in_an_archive_are_read_without_tarfile(fuzz, tmp_path):
    tar_names = fuzz("fuzz_tar_names").tar_names
    members = {
        "train/1.png": b"a" * 700,
        "train/" + "x" * 120 + ".png": b"b",
        "other/2.png": b"",
        "train/see_bboxes.m": b"",
    }
    path = tar_gz(tmp_path / "train.tar.gz", members | {"train/link.png": "1.png"})
    expected = ["1.png", "x" * 120 + ".png", "other/2.png", "link.png"]
    assert tar_names(path, "train") in (expected, None)
    tar_gz(path, {"train/1.png": b"a" * 700, "other/2.png": b"", "train/link.png": "1.png"})
    assert tar_names(path, "train") == ["1.png", "other/2.png", "link.png"]
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content.replace(b"other/2", b"other/3")))
    assert tar_names(path, "train") is None
