"""What commands print: lines for people, a progress bar, or one line of JSON for scripts."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Terminal:
    """Where a command prints: lines and progress for people, one line of JSON for scripts.

    quiet, json: the options of the command; either silences lines for people. Errors always print.
    """

    def __init__(self, *, quiet: bool = False, json: bool = False):
        self.is_json = json
        self.is_silent = quiet or json
        self._console = Console(highlight=False, markup=False, quiet=self.is_silent)

    def print(self, *what: Any) -> None:
        """Prints lines or rich tables for people. Lines are not wrapped."""
        for one in what or ("",):
            self._console.print(one, soft_wrap=isinstance(one, str))

    def warn(self, text: str) -> None:
        self.print(f"warning: {text}")

    def error(self, *lines: str) -> None:
        """Prints lines to stderr, whatever the options; file names may hold control characters."""
        for line in lines:
            words = " ".join(line.split())
            print("".join(one if one.isprintable() else "?" for one in words), file=sys.stderr)

    def result(self, value: Any) -> None:
        """Prints the result as one line of JSON, with --json only."""
        if self.is_json:
            print(json_line(value), flush=True)

    @contextmanager
    def progress(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
        """A bar with count and time left, on a terminal; yields a function that advances it."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            TimeRemainingColumn(),
        )
        is_hidden = self.is_silent or not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=is_hidden) as bar:
            yield partial(bar.advance, bar.add_task(title, total=total))


def json_line(value: Any) -> str:
    """A value as one line of JSON; a number that is not finite becomes null."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


SILENT = Terminal(quiet=True)
