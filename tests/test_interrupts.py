"""Ctrl-C and SIGTERM outside the train loop: at the start of every command, and in the demo."""

import os
import signal
import subprocess
import sys

import pytest
from archives import REPOSITORY

from svhn_jax.__main__ import COMMANDS

ENDS = [
    (signal.SIGINT, 130, "error: interrupted\n"),
    (signal.SIGTERM, 143, "error: ended by SIGTERM\n"),
]
# Stands in for a module that each command imports: the signal arrives in C code that discards exceptions.
IMPORTED = """
import signal
try:
    signal.raise_signal(signal.Signals({number}))
    for _ in range(1000):
        pass
except BaseException:
    pass
raise SystemExit(0)
"""


@pytest.mark.parametrize("command", [*COMMANDS, "data.svhn_full"])
@pytest.mark.parametrize(("number", "status", "words"), ENDS)
def test_a_signal_during_the_imports_of_a_command_ends_it_in_one_line(
    tmp_path, command, number, status, words
):
    (tmp_path / "tyro.py").write_text(IMPORTED.format(number=int(number)))
    finished = subprocess.run(
        [sys.executable, "-m", f"svhn_jax.{command}"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (status, "", words)


def test_sigterm_to_the_demo_ends_the_command_that_it_runs(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.py").touch()
    with subprocess.Popen(
        [sys.executable, "-m", "svhn_jax.demo"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (tmp_path / "data" / "synthetic_raw").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)  # both have closed stderr
    assert (process.returncode, err) == (143, 2 * "error: ended by SIGTERM\n")
