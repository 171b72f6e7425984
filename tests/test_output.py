"""Progress: rate and time left on a terminal, nothing elsewhere."""

import io
import re

import pytest
import rich
from rich.console import Console

from svhn_jax import output
from svhn_jax.output import Output


@pytest.fixture
def screen(monkeypatch):
    """A function that makes rich's global console a terminal, or a file; returns what is written to it."""

    def screen(options, *, is_terminal):
        output.console(options)
        file = io.StringIO()
        made = Console(file=file, force_terminal=is_terminal, width=80, quiet=options.is_silent)
        monkeypatch.setattr(rich, "get_console", lambda: made)
        return file

    yield screen
    output.console(Output())


def advance_by_quarters():
    with output.progress("step 3", 1_000, "photos") as advance:
        for _ in range(2):
            advance(250)


def test_a_terminal_shows_count_rate_and_time_left(screen):
    file = screen(Output(), is_terminal=True)
    advance_by_quarters()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert "step 3" in shown
    assert re.search(r"500/1000 .*photos/s \d:\d\d:\d\d", shown)


@pytest.mark.parametrize(
    ("options", "is_terminal"),
    [(Output(), False), (Output(quiet=True), True), (Output(json=True), True)],
)
def test_nothing_is_shown_elsewhere(screen, options, is_terminal):
    file = screen(options, is_terminal=is_terminal)
    advance_by_quarters()
    assert list(output.track([1, 2], "photos", 2, "photos")) == [1, 2]
    assert file.getvalue() == ""


def test_json_is_printed_with_its_option_alone(capsys):
    output.print_json(Output(), {"a": 1})
    output.print_json(Output(quiet=True), {"a": 1})
    output.print_json(Output(json=True), {"a": 1})
    assert capsys.readouterr().out == '{"a": 1}\n'


def test_numbers_that_json_does_not_have_are_null(capsys):
    output.print_json(Output(json=True), {"a": [1.5, float("nan")], "b": {"c": (-float("inf"), 2)}})
    assert capsys.readouterr().out == '{"a": [1.5, null], "b": {"c": [null, 2]}}\n'
