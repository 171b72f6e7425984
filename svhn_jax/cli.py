"""The command line: options from dataclasses, --json, --quiet, signals, one-line errors.

A command is a module with a docstring that begins with "python -m svhn_jax.COMMAND: purpose", a
frozen dataclass `Options(Checked)` whose fields have docstrings, and `main(options, terminal)`,
which imports JAX inside, so that --help answers at once. It ends with `cli.run(Options, main)`.
"""

import argparse
import dataclasses
import io
import os
import signal
import sys
import textwrap
import traceback
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import tyro

from svhn_jax import config_files, files
from svhn_jax.checked import Rule
from svhn_jax.config import Config
from svhn_jax.errors import InputError, TryAgainError, one_line
from svhn_jax.output import Terminal

Options = TypeVar("Options")
Main = Callable[[Options, Terminal], int | None]
Splits = Annotated[
    tuple[Literal["train", "extra", "test"], ...],
    tyro.conf.arg(metavar="{train,extra,test} ...", help_behavior_hint="(default: all)"),
]
UNPREFIXED = tyro.conf.arg(name="")  # the fields of a dataclass become options of their own names

BAD_INPUT, TRY_AGAIN = 1, 75  # exit statuses; 75 is EX_TEMPFAIL of sysexits.h
EXTRAS = {"gcsfs": "gcs", "google-cloud-storage": "gcs", "s3fs": "s3"}


def file_rule(suffix: str) -> Rule:
    """The rule for a file to write: its suffix, and that its folder exists."""
    return Rule(
        lambda path: path.suffix.lower() == suffix and path.absolute().parent.is_dir(),
        f"the name of a {suffix} file, in a folder that exists",
    )


CSV, PNG = file_rule(".csv"), file_rule(".png")


@dataclass(frozen=True)
class Output:
    """What the command prints."""

    quiet: bool = False
    """print errors only"""
    json: bool = False
    """print only errors, and the result as one line of JSON (predict: one line for each photo)"""


@dataclass(frozen=True)
class Processes:
    """Which of many processes this is, where they are started by hand."""

    coordinator: str | None = None
    """HOST:PORT of process 0, for one of many processes started by hand"""
    processes: int | None = None
    """number of those processes; 1: this process alone, whatever the environment says"""
    process: int | None = None
    """index of this process, from 0"""


def run(kind: type[Options], main: Main[Options]) -> NoReturn:
    """Runs a command and exits with its status: 130 or 143 after SIGINT or SIGTERM.

    A signal raises KeyboardInterrupt, so that `main` cleans up; a second one ends the process.
    After an error the process exits at once: threads of Orbax and JAX may wait for lost processes.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    for stream in (sys.stdout, sys.stderr):  # letters that the terminal lacks are escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    files.use_compilation_cache()
    status = BAD_INPUT
    try:
        if (status := call(kind, main)) == 0:
            sys.exit()
    except KeyboardInterrupt:
        pass
    except Exception:
        if not received:
            traceback.print_exc()
    if received:
        status = 128 + received[0]
        Terminal().error(f"error: ended by {signal.Signals(received[0]).name}")
    sys.stderr.flush()
    os._exit(status)


def call(kind: type[Options], main: Main[Options], argv: Sequence[str] | None = None) -> int:
    """Parses `argv` (default: sys.argv), runs `main`, and returns the exit status.

    An error that the user can correct is one line on stderr; other exceptions are raised.
    """
    arguments = sys.argv[1:] if argv is None else [*argv]
    try:
        options, output = _parse(kind, arguments, main.__globals__["__doc__"] or "")
        status = main(options, Terminal(quiet=output.quiet, json=output.json))
        sys.stdout.flush()
    except SystemExit as leaving:  # tyro: help, or options that do not parse
        return leaving.code if isinstance(leaving.code, int) else 0
    except BrokenPipeError:  # the reader of the output has ended, as in `... | head`
        return BAD_INPUT
    except Exception as error:
        if not (text := _in_one_line(error)):
            raise
        Terminal().error(f"error: {text}", *getattr(error, "details", ()))
        return TRY_AGAIN if isinstance(error, TryAgainError) else BAD_INPUT
    return status or 0


def _in_one_line(error: Exception) -> str:
    """An error that the user can correct; empty for a bug."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    for name, extra in EXTRAS.items():
        if isinstance(error, ImportError) and name in str(error):
            return f"a bucket needs more packages: pip install 'svhn_jax[{extra}]'"
    try:
        if jax := sys.modules.get("jax"):
            jax.devices()
    except Exception as failure:
        variables = "JAX_PLATFORMS", "JAX_PLATFORM_NAME", "CUDA_VISIBLE_DEVICES"
        given = ", ".join(f"{name}={os.environ[name]}" for name in variables if name in os.environ)
        return (
            f"JAX finds no device ({given or one_line(failure)}): install JAX for that device "
            "(pip install 'svhn_jax[cuda]' or '[tpu]'), or set JAX_PLATFORMS=cpu"
        )
    return ""


def _parse(kind: type[Options], arguments: list[str], text: str) -> tuple[Options, Output]:
    """The options, and what to print. Exits after --help, and if parsing fails.

    The values of the configuration that --config names are the defaults of the field `settings`.
    """
    fields: list[Any] = [("output", Annotated[Output, UNPREFIXED], Output())]
    if "settings" in typing.get_type_hints(kind):
        config = _config(arguments, getattr(kind, "config", None))
        fields.append(("settings", Annotated[Config, UNPREFIXED], config))
    whole = dataclasses.make_dataclass("Command", fields, bases=(kind,), frozen=True)
    if not {"-h", "--help"}.isdisjoint(arguments):
        for part in text.strip().split("\n\n"):  # tyro would not wrap paragraphs
            print(part if part[0] == " " else textwrap.fill(" ".join(part.split()), 80), end="\n\n")
    parsed: Any = tyro.cli(
        whole,
        args=arguments,
        prog=" ".join(text.partition(":")[0].split()[:3]),  # python -m svhn_jax.COMMAND
        description="",
        config=(tyro.conf.DisallowNone,),
    )
    return parsed, parsed.output


def _config(arguments: Sequence[str], default: Path | None) -> Config:
    """The configuration that the option --config names; for --help it may be missing."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=default)
    path = parser.parse_known_args(arguments)[0].config
    if path is None and {"-h", "--help"}.isdisjoint(arguments):
        raise InputError("no --config given; give --config FILE, such as configs/demo.py")
    return config_files.load(path) if path else Config()
