"""What is typed after python -m svhn_jax.COMMAND: options, overrides of a configuration, --help."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from archives import assert_one_error_line, run_python
from conftest import REPOSITORY

from svhn_jax import command_line, options
from svhn_jax.config import Config
from svhn_jax.errors import InputError

COMMANDS = [
    path.stem
    for path in sorted((REPOSITORY / "svhn_jax").glob("[!_]*.py"))
    if '__name__ == "__main__"' in path.read_text()
]


def parse_train(monkeypatch, *arguments):
    monkeypatch.setattr(
        sys, "argv", ["train", "--config", str(REPOSITORY / "configs/seed.py"), *arguments]
    )
    return command_line.parse_with_config(options.Train, "python -m svhn_jax.train", "Trains.")


def test_overrides_are_typed_and_nested_and_leave_the_rest_as_the_file_has_it(monkeypatch):
    parsed = parse_train(
        monkeypatch, "--optimizer.learning-rate", "0.5", "--model.blocks", "1", "2"
    )
    assert parsed.settings.optimizer.learning_rate == 0.5
    assert parsed.settings.model.blocks == (1, 2)
    assert (parsed.settings.batch_size, Config().batch_size) == (36, 64)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: options.Evaluate(errors=Path("x.foo")),
            "--errors is x.foo; it must be the name of a .png file, in a",
        ),
        (
            lambda: options.Evaluate(sheet=Path("nosuch/x.png")),
            "--sheet is nosuch/x.png; it must be the name of a .png",
        ),
        (lambda: options.Evaluate(patience_s=-5.0), "--patience-s is -5.0; it must be at least 0"),
        (lambda: options.Benchmark(images=0), "--images is 0; it must be at least 1"),
    ],
    ids=["errors", "sheet", "patience", "images"],
)
def test_what_would_fail_late_is_refused_at_the_start(made, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        made()


def test_an_unknown_option_exits_with_the_nearest_name(monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_status:
        parse_train(monkeypatch, "--optimizer.learning-rat", "0.5")
    assert exit_status.value.code == 2
    assert "--optimizer.learning-rate" in capsys.readouterr().err


def test_a_config_file_without_its_option_is_told_the_option(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "configs/demo.py", "--seed", "3"])
    with pytest.raises(InputError, match=r"^no --config given; give --config configs/demo\.py$"):
        command_line.parse_with_config(options.Train, "", "")


def test_one_of_many_processes_is_told_which(monkeypatch):
    parsed = parse_train(
        monkeypatch, "--coordinator", "host:1", "--processes", "2", "--process", "1"
    )
    assert parsed.processes == options.Processes("host:1", 2, 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_no_jax_fits_the_terminal_and_names_every_option(command):
    code = (
        f"import runpy, sys; sys.argv = ['{command}', '--help']\n"
        f"try: runpy.run_module('svhn_jax.{command}', run_name='__main__')\n"
        "except SystemExit as end: sys.exit(f'status {end.code}, jax: {\"jax\" in sys.modules}')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert finished.stderr == "status 0, jax: False\n"
    assert all(
        len(line) <= 80 for line in finished.stdout.splitlines() if not line.startswith("usage:")
    )
    assert "{None}" not in finished.stdout
    assert f"usage: python -m svhn_jax.{command} [-h]" in finished.stdout
    assert "--quiet" in finished.stdout
    assert "--json" in finished.stdout
    if command == "train":
        for option in (
            "--config PATH",
            "--coordinator STR",
            "--processes INT",
            "--process INT",
            "--seed INT",
        ):
            assert option in finished.stdout


def test_an_option_that_the_demo_does_not_have_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no demo could run
    finished = run_python("-m", "svhn_jax.demo", "--quick")
    assert finished.returncode == 2
    assert "--quick" in finished.stderr
    assert finished.stdout == ""


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_package_lists_its_commands_a_line_each(arguments):
    finished = run_python("-m", "svhn_jax", *arguments)
    assert finished.returncode == 0
    for command in COMMANDS:
        docstring = ast.get_docstring(
            ast.parse((REPOSITORY / f"svhn_jax/{command}.py").read_text())
        )
        (line,) = (
            line
            for line in finished.stdout.splitlines()
            if f"python -m svhn_jax.{command} " in line
        )
        assert line.endswith(docstring.splitlines()[0].partition(": ")[2])


def test_a_mistyped_command_is_told_the_nearest():
    finished = run_python("-m", "svhn_jax", "trian")
    assert_one_error_line(finished)
    assert "did you mean python -m svhn_jax.train?" in finished.stderr
