"""Dataclasses that check the type of each value, and the rules beside the field, when made."""

import math
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typeguard

from svhn_jax.errors import InputError
from svhn_jax.files import REMOTE


class Rule(NamedTuple):
    """A condition on a value that is not None, and what the value must be, in words.

    For Annotated[type, Rule(...)].
    """

    holds: Callable[[Any], bool]
    words: str


def at_least(least: int) -> Rule:
    """The rule for a number without an upper limit."""
    return Rule(lambda value: value >= least, f"at least {least}")


def within(least: int, most: int) -> Rule:
    """The rule for a number with both limits."""
    return Rule(lambda value: least <= value <= most, f"{least} to {most}")


Fraction = Annotated[float, Rule(lambda value: 0 <= value < 1, "at least 0 and less than 1")]
Positive = Annotated[float, Rule(lambda value: value > 0, "greater than 0")]
URL = Rule(
    lambda value: bool(re.fullmatch(r"https?://[^\s/]\S*", value)),
    "an http:// or https:// address",
)


@dataclass(frozen=True)
class Checked:
    """Raises InputError that names the field if a value has another type or breaks a rule."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for name, annotated in typing.get_type_hints(type(self), include_extras=True).items():
            value, rules = getattr(self, name), getattr(annotated, "__metadata__", ())
            try:
                typeguard.check_type(value, hints[name])
            except typeguard.TypeCheckError:
                raise self.mistake(name, _wanted(hints[name])) from None
            if URL not in rules:
                self._refuse_schemes(name, value)
            if isinstance(value, float) and not math.isfinite(value):
                raise self.mistake(name, "finite")
            for rule in rules:
                if isinstance(rule, Rule) and value is not None and not rule.holds(value):
                    raise self.mistake(name, rule.words)

    def _refuse_schemes(self, name: str, value: Any) -> None:
        """Raises InputError for a path of an unknown scheme, such as az:// or GS://.

        A str may name a bucket, a Path may not: as a Path, "gs://x" has become "gs:/x".
        """
        paths = value if isinstance(value, tuple) else (value,)
        for path in (one for one in paths if isinstance(one, str | Path)):
            is_bucket = isinstance(path, str) and path.startswith(REMOTE)
            if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) and not is_bucket:
                where = "or gs://BUCKET/PATH" if isinstance(path, str) else "on this machine"
                raise InputError(f"{self.called(name)} is {path}; it must be a path {where}")

    def mistake(self, name: str, words: str) -> InputError:
        """The error for a field whose value must be what `words` say."""
        value = getattr(self, name)
        shown = value if isinstance(value, Path) else repr(value)
        return InputError(f"{self.called(name)} is {shown}; it must be {words}")

    @classmethod
    def called(cls, name: str) -> str:
        """The field as a user knows it: an option of the command line."""
        return f"--{name.replace('_', '-')}"


def _wanted(hint: Any) -> str:
    """A field's type in words: the choices of a Literal, or the name of a type."""
    if typing.get_origin(hint) is not Literal:
        return f"of type {hint.__name__ if type(hint) is type else hint}"
    *others, last = map(repr, typing.get_args(hint))
    return f"{', '.join(others)} or {last}"
