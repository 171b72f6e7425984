"""Command lines: options from dataclasses, by tyro. Imports no JAX, so that --help answers at once."""

import argparse
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any, TypeVar

import tyro

from svhn_jax import config_files
from svhn_jax.errors import InputError

Options = TypeVar("Options")


def parse(kind: type[Options], prog: str, description: str, default: Any = None) -> Options:
    """Parses sys.argv. Prints help or usage, and exits, where help is asked for or the arguments do not parse.

    Args:
      kind: a dataclass; each field is an option, its docstring the help.
      prog: the command as a user types it.
      description: paragraphs, which are wrapped to the terminal.
      default: an instance of `kind` whose values replace the defaults of `kind`.
    """
    if _asks_for_help():
        # tyro joins the lines of a description and does not wrap them.
        width = min(shutil.get_terminal_size().columns, 100)
        paragraphs = (" ".join(text.split()) for text in description.strip().split("\n\n"))
        print("\n\n".join(textwrap.fill(text, width) for text in paragraphs), end="\n\n")
    return tyro.cli(kind, prog=prog, description="", default=default)


def parse_with_config(kind: type[Options], prog: str, description: str) -> Options:
    """Parses options that hold a configuration: --config FILE, and every field of it, with FILE's values as defaults.

    Args:
      kind: a dataclass with the fields `config`, a path, and `settings`, a Config (see svhn_jax.options).

    Raises:
      InputError: no --config, or no configuration in that file.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=getattr(kind, "config", None))
    known, others = parser.parse_known_args()
    path = known.config
    if _asks_for_help() and not (path and Path(path).is_file()):
        return parse(kind, prog, description)
    if path is None:
        files = [argument for argument in others if argument.endswith(".py")]
        raise InputError(
            f"no --config given{f'; give --config {files[0]}' if files else config_files.shipped_configs()}"
        )
    return parse(kind, prog, description, kind(config=Path(path), settings=config_files.load(path)))  # type: ignore[call-arg]


def _asks_for_help() -> bool:
    return not {"-h", "--help"}.isdisjoint(sys.argv[1:])
