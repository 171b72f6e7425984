"""Dataclasses that check the type of each value, and the rules beside the field, when made."""

import math
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typeguard

from svhn_jax.errors import InputError

# A path with a scheme that no part of the package writes to; "gs:/x" is "gs://x" as a Path.
UNKNOWN_SCHEME = re.compile(r"(?!(gs|s3|https?)://)[A-Za-z][A-Za-z0-9+.-]+:/")


class Rule(NamedTuple):
    """For Annotated[type, Rule(...)]: a condition on a value that is not None, and its words."""

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


@dataclass(frozen=True)
class Checked:
    """Raises InputError that names the field if a value has another type or breaks a rule."""

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            try:
                typeguard.check_type(value, hint)
            except typeguard.TypeCheckError as error:
                raise InputError(f"{self.called(name)} is {value!r}: {error}") from None
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, str | Path) and UNKNOWN_SCHEME.match(str(one)):
                    raise self.mistake(name, "a path on this machine, or gs://BUCKET/PATH")
            if isinstance(value, float) and not math.isfinite(value):
                raise self.mistake(name, "finite")
            for rule in getattr(hint, "__metadata__", ()):
                if isinstance(rule, Rule) and value is not None and not rule.holds(value):
                    raise self.mistake(name, rule.words)

    def mistake(self, name: str, words: str) -> InputError:
        """The error for a field whose value must be what `words` say."""
        value = getattr(self, name)
        shown = value if isinstance(value, Path) else repr(value)
        return InputError(f"{self.called(name)} is {shown}; it must be {words}")

    @classmethod
    def called(cls, name: str) -> str:
        """The field as a user knows it: an option of the command line."""
        return f"--{name.replace('_', '-')}"
