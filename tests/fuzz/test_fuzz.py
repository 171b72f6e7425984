"""A few damaged and hostile inputs and pictures of every kind."""

import subprocess
import sys

import pytest
from archives import REPOSITORY


@pytest.mark.parametrize(
    "script", [["fuzz_data.py", "--inputs", "16"], ["fuzz_predict.py", "--pictures", "60"]]
)
def test_damaged_and_hostile_inputs_do_no_harm(script):
    # In a process of its own: the fuzzer forks, which JAX's threads may not survive.
    command = [sys.executable, f"tests/fuzz/{script[0]}", *script[1:], "--seed", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
