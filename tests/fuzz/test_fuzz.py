"""A few damaged inputs of every kind, and that a wrong outcome would be noticed."""

import importlib
import subprocess
import sys

import pytest
from archives import REPOSITORY, split_files, write_split

pytestmark = pytest.mark.filterwarnings("ignore")  # it forks, and JAX warns of forks


@pytest.fixture
def fuzz_data(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/fuzz"))
    module = importlib.import_module("fuzz_data")
    monkeypatch.setattr(module.digit_struct, "usable_cores", lambda: 0)
    return module


def test_damaged_and_hostile_inputs_do_no_harm():
    # In a process of its own: the fuzzer forks, which JAX's threads may not survive.
    command = [sys.executable, "tests/fuzz/fuzz_data.py", "--inputs", "18", "--seed", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_wrong_outcomes_are_noticed(fuzz_data, tmp_path):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "12", "77"]))
    (tmp_path / "out").mkdir()
    assert fuzz_data.run(tmp_path / "raw", tmp_path / "log", []) == 0
    photos = {"1.png", "2.png", "3.png"}

    def problems(status, printed="", known=photos):
        return len(fuzz_data.problems(status, printed, known, tmp_path))

    assert problems(0) == problems(1, "error: no\n") == problems(1, "error: no\nline 2: a\n") == 0
    assert problems(None) == problems(70) == problems(1) == problems(1, "error: no\nyes\n") == 1
    assert problems(1, "error: a\x1b[2J.png\n") == problems(0, known=photos | {"4.png"}) == 1
    (tmp_path / "out" / ".set.1.partial").mkdir()
    images = tmp_path / "out" / "set" / "train" / "images.npy"
    images.write_bytes(images.read_bytes()[:-1] + b"7")
    assert problems(0) == 2
