"""Configurations in files, on the command line, and in a saved run.

configs/NAME.py is plain Python that defines `config = Config(...)`; any field can be overridden on
the command line (`--optimizer.learning-rate 1e-3`).
"""

import dataclasses
import difflib
import json
import runpy
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from svhn_jax.config import Config
from svhn_jax.errors import InputError

# Fields that do not change what a step computes, rounding apart: a run may go on with others.
FREE_FIELDS = (
    "name",
    "runs_dir",
    "eval_batch_size",
    "deterministic",
    "profile",
    "log_every_steps",
    "eval_every_steps",
    "keep_newest",
    "keep_every_steps",
    "data.dir",
    "data.mix_in",
    "data.placement",
    "model.convolution",
)


def load(path: str | Path) -> Config:
    """The `config` of a configuration file.

        config = load("configs/demo.py")
        config.optimizer.learning_rate, to_json(config)

    Raises:
      InputError: no such file, no Config in it, a misspelt field (with the nearest name), a bad value.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such config file{shipped_configs()}")
    try:
        config = runpy.run_path(str(path)).get("config")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except SystemExit as error:
        raise InputError(
            f"{_place(path, error)}: ends the program; leave that out and define `config`"
        ) from None
    except Exception as error:  # the file is the user's code: whatever it raises is theirs to mend
        said = error.msg if isinstance(error, SyntaxError) else error
        hint = _nearest(str(error)) if "unexpected keyword argument" in str(error) else ""
        raise InputError(f"{_place(path, error)}: {type(error).__name__}: {said}{hint}") from None
    if not isinstance(config, Config):
        raise InputError(f"{path}: defines no `config = Config(...)` (svhn_jax.config.Config)")
    return config


def shipped_configs() -> str:
    """Names the files of configs/, as the end of a message."""
    found = sorted(map(str, Path("configs").glob("*.py")))
    return (
        f"; there are: {', '.join(found)}" if found else "; run this in the repository's top folder"
    )


def to_json(config: Config) -> str:
    """The config as JSON text, which `from_json` reads back."""
    return json.dumps(dataclasses.asdict(config), indent=1) + "\n"


def from_json(
    text: str,
    source: str,
    remedy: Callable[[], str] = lambda: "put it right, or train under another --name",
) -> Config:
    """The config of a saved run.

    Args:
      text: what `to_json` returned.
      source: the file it came from, for messages.
      remedy: gives what the message ends with.

    Raises:
      InputError: no JSON, unknown fields, bad values.
    """
    try:
        return build(Config, json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: damaged ({error}); {remedy()}") from None
    except InputError as error:
        raise InputError(f"{source}: {error}; {remedy()}") from None


def build(kind: type, values: dict[str, Any]) -> Any:
    """The object of a dataclass, and of those in its fields, from what `dataclasses.asdict` made, and JSON of that.

    Raises:
      InputError: an unknown field, or a value that the dataclass refuses.
      TypeError, AttributeError: a field is missing, or an object is no object.
    """
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, value in values.items():
        if name not in hints:
            raise InputError(f"unknown field {name!r}{_nearest(repr(name))}")
        if dataclasses.is_dataclass(hints[name]):
            value = build(typing.cast(type, hints[name]), value)
        elif isinstance(value, list):
            value = tuple(value)
        arguments[name] = value
    return kind(**arguments)


def differences(config: Config, other: Config) -> str:
    """The fields, with both values, that keep one run from going on as the other; empty if none does."""
    ours, theirs = flatten(config), flatten(other)
    differing = [name for name in ours if ours[name] != theirs[name] and name not in FREE_FIELDS]
    fields = ", ".join(f"{name} is {ours[name]!r}, but {theirs[name]!r}" for name in differing)
    return f"{fields} in the saved run" if fields else ""


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every field under its dotted name."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{item.name}.")
        else:
            flat[prefix + item.name] = value
    return flat


def _place(path: str | Path, error: BaseException) -> str:
    """The file and the line of it at which an error arose."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    return f"{path}, line {lines[-1]}" if lines and lines[-1] else str(path)


def _nearest(message: str) -> str:
    """A hint for a misspelt field: the nearest known name to the last quoted word."""
    quoted = [word for word in message.split("'")[1::2] if word.isidentifier()]
    kinds = [
        Config,
        *(
            hint
            for hint in typing.get_type_hints(Config).values()
            if dataclasses.is_dataclass(hint)
        ),
    ]
    names = [item.name for kind in kinds for item in dataclasses.fields(kind)]
    near = difflib.get_close_matches(quoted[-1], names, n=1, cutoff=0.5) if quoted else []
    return f"; did you mean {near[0]}?" if near else ""
