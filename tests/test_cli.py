"""The command line: options, configurations, help, output, errors, signals."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from conftest import REPOSITORY
from rich.console import Console

from svhn_jax import cli
from svhn_jax.__main__ import COMMANDS
from svhn_jax.checked import Checked, at_least
from svhn_jax.config import Config
from svhn_jax.errors import InputError, TryAgainError
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options(Checked):
    """Options of a command for these tests."""

    to: Path = Path("x")
    """a path"""
    run: str | None = None
    """a run"""
    count: Annotated[int, at_least(1)] = 1
    """a count"""


@dataclass(frozen=True)
class Configured:
    """Options with a configuration."""

    config: Path
    """the configuration file"""
    settings: Annotated[Config, cli.UNPREFIXED] = field(default_factory=Config)


def parsed(kind, *argv):
    """The options that a command gets."""
    received = []
    assert cli.call(kind, lambda options, _: received.append(options), argv) == 0
    return received[0]


def test_overrides_are_typed_and_nested_and_keep_the_rest_of_the_file(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    arguments = ("--config", "configs/seed.py", "--optimizer.learning-rate", "0.5")
    settings = parsed(Configured, *arguments, "--model.blocks", "1", "2").settings
    assert settings.optimizer.learning_rate == 0.5
    assert settings.model.blocks == (1, 2)
    assert (settings.batch_size, Config().batch_size) == (36, 64)


@pytest.mark.parametrize(
    ("kind", "arguments", "status", "words"),
    [
        (Options, ["--count", "0"], 1, "--count"),
        (Options, ["--cuont", "3"], 2, "--count"),
        (Options, ["--run", "az://b/x"], 1, "az:/"),
        (Options, ["--to", "gs://b/x"], 1, "--to"),
        (Configured, ["configs/demo.py"], 1, "--config"),
        (Configured, ["--config", "nosuch.py"], 1, "nosuch.py"),
    ],
)
def test_bad_options_are_named(capfd, kind, arguments, status, words):
    assert cli.call(kind, lambda *_: 0, arguments) == status
    out, err = capfd.readouterr()
    assert words in err
    assert out == ""


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("x.png: bad", ["line 3"]), 1, "error: x.png: bad\nline 3\n"),
        (TryAgainError("later"), 75, "error: later\n"),
        (OSError(28, "No space left", "out"), 1, "error: out: No space left\n"),
        (ImportError("Please install gcsfs"), 1, "svhn_jax[gcs]"),
        (InputError("a\x1b[2J\nb"), 1, "error: a?[2J b\n"),
    ],
)
def test_an_error_is_one_printable_line(capfd, error, status, words):
    def main(*_):
        raise error

    assert cli.call(Options, main, []) == status
    assert words in capfd.readouterr().err


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.call(Options, lambda *_: 1 / 0, [])


def test_quiet_and_json(capfd):
    def main(_, terminal):
        terminal.print("for people")
        terminal.warn("too")
        terminal.result({"a": [1.5, float("nan")], "b": {"c": (-float("inf"), 2)}})

    for argv in ([], ["--quiet"], ["--json"]):
        cli.call(Options, main, argv)
    lines = capfd.readouterr().out.splitlines()
    assert lines[:2] == ["for people", "warning: too"]
    assert [json.loads(line) for line in lines[2:]] == [{"a": [1.5, None], "b": {"c": [None, 2]}}]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_shows_count_and_time_on_a_terminal_only(is_terminal):
    file, terminal = io.StringIO(), Terminal()
    terminal._console = Console(file=file, force_terminal=is_terminal, width=80)
    with terminal.progress("step 3", 1_000, "photos") as advance:
        for _ in range(2):
            advance(250)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert bool(re.search(r"step 3 .*500/1000 photos .*\d:\d\d:\d\d", shown)) == is_terminal


def test_help_of_every_command_needs_no_jax_and_fits_80_columns():
    code = (
        "import runpy, sys\n"
        f"for name in {COMMANDS}:\n"
        "    print('##', name, flush=True)\n"
        "    sys.argv = ['svhn_jax', name, '--help']\n"
        "    try: runpy.run_module('svhn_jax', run_name='__main__')\n"
        "    except SystemExit as end: assert not end.code\n"
        "sys.exit('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    pages = done.stdout.split("## ")[1:]
    assert len(pages) == len(COMMANDS)
    for name, page in zip(COMMANDS, pages, strict=True):
        assert f"usage: python -m svhn_jax.{name} [-h]" in page
        assert {"--quiet", "--json"} <= set(re.findall(r"--[a-z-]+", page))
        assert "{None}" not in page
        assert all(len(line) <= 80 for line in page.splitlines() if "usage:" not in line)


def svhn_jax(*arguments, **keywords):
    command = [sys.executable, "-m", "svhn_jax", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, **keywords)


def test_the_package_lists_its_commands_and_names_the_nearest():
    listed = svhn_jax().stdout
    assert all(re.search(rf"python -m svhn_jax {name} +\w", listed) for name in COMMANDS)
    assert svhn_jax("--version").stdout.startswith("svhn_jax 0.")
    mistyped = svhn_jax("trian")
    assert mistyped.returncode == 1
    assert "train" in mistyped.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cleans_up_and_is_one_line(tmp_path, number, status):
    (tmp_path / "command.py").write_text(
        "import time\nfrom pathlib import Path\nfrom dataclasses import dataclass\n"
        "from svhn_jax import cli\n"
        "@dataclass(frozen=True)\nclass Options:\n    pass\n"
        "def main(options, terminal):\n"
        "    try:\n        print('ready', flush=True)\n        time.sleep(60)\n"
        "    finally:\n        Path('cleaned').touch()\n"
        "cli.run(Options, main)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "command.py"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert (tmp_path / "cleaned").exists()
    assert err.count("\n") == 1
    assert number.name in err


def test_a_device_that_is_not_there_is_one_line():
    code = "import jax; from svhn_jax import cli; cli.run(cli.Output, lambda *_: jax.devices())"
    env = os.environ | {"JAX_PLATFORMS": "cuda"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "JAX_PLATFORMS=cuda" in line
    assert "Traceback" not in done.stderr
