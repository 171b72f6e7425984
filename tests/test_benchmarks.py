"""The scripts of benchmarks/ start: measuring is done by hand."""

import subprocess
import sys

import pytest
from conftest import REPOSITORY

SCRIPTS = sorted(
    path for path in (REPOSITORY / "benchmarks").glob("*.py") if "cli.run(" in path.read_text()
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_starts(script, one_device_env):
    done = subprocess.run(
        [sys.executable, script, "--help"], env=one_device_env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert script.name in done.stdout
