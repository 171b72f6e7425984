"""Configurations in files, on the command line, and in a saved run.

configs/NAME.py is plain Python that defines `config = Config(...)`; any field can be overridden on
the command line (`--optimizer.learning-rate 1e-3`).
"""

import dataclasses
import difflib
import json
import re
import runpy
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

from svhn_jax.config import Config
from svhn_jax.errors import InputError

# Fields that change what a step computes by rounding at most: a run may continue with others.
FREE_FIELDS = (
    "name",
    "runs_dir",
    "eval_batch_size",
    "log_every_steps",
    "eval_every_steps",
    "keep_newest",
    "data.dir",
    "data.mix_in",
    "data.placement",
    "model.convolution",
)
LENGTH_FIELDS = ("num_epochs", "num_steps")  # free too under a constant rate


def load(path: str | Path) -> Config:
    """The `config` of a configuration file.

        config = load("configs/demo.py")
        config.optimizer.learning_rate, to_json(config)

    Raises:
      InputError: no such file, no Config in it, a misspelt field (with the nearest name).
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such config file; see configs/")
    try:
        config = runpy.run_path(str(path)).get("config")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # the file is the user's code and may raise anything
        name = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        hint = _nearest(name[1]) if name else ""
        raise InputError(f"{path}: {type(error).__name__}: {error}{hint}") from None
    if not isinstance(config, Config):
        raise InputError(f"{path}: defines no `config = Config(...)` (svhn_jax.config.Config)")
    return config


def to_json(config: Config) -> str:
    """The config as JSON text, which `from_json` reads back."""
    return json.dumps(dataclasses.asdict(config), indent=1) + "\n"


def from_json(text: str, source: str) -> Config:
    """The inverse of `to_json`. Raises InputError that names `source`, the file."""
    try:
        return build(Config, json.loads(text))
    except (ValueError, TypeError, AttributeError, InputError) as error:
        raise InputError(f"{source}: damaged, or of another version ({error})") from None


def build(kind: type, values: dict[str, Any]) -> Any:
    """The dataclass object of values that `dataclasses.asdict` made, or of their JSON.

    Raises:
      InputError, TypeError, AttributeError: unknown fields or bad values.
    """
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, value in values.items():
        if name not in hints:
            raise InputError(f"unknown field {name!r}")
        if dataclasses.is_dataclass(hints[name]):
            value = build(typing.cast(type, hints[name]), value)
        arguments[name] = tuple(value) if isinstance(value, list) else value
    return kind(**arguments)


def differences(config: Config, other: Config) -> str:
    """Fields that differ and forbid resuming, with both values; empty if none do."""
    ours, theirs, optimizer = flatten(config), flatten(other), config.optimizer
    is_constant = optimizer.schedule == "constant" and not optimizer.warmup_fraction
    free = FREE_FIELDS + LENGTH_FIELDS * is_constant
    differing = [name for name in ours if ours[name] != theirs[name] and name not in free]
    fields = ", ".join(f"{name} is {ours[name]!r}, but {theirs[name]!r}" for name in differing)
    is_length = not set(differing).isdisjoint(LENGTH_FIELDS)
    hint = " (its schedule has a fixed length: train on from its weights with --start)"
    return f"{fields} in the saved run{hint * is_length}" if fields else ""


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every field under its dotted name."""
    if not dataclasses.is_dataclass(config):
        return {prefix[:-1]: config}
    parts = (flatten(getattr(config, x.name), f"{prefix}{x.name}.") for x in fields(config))
    return {name: value for part in parts for name, value in part.items()}


def _nearest(name: str) -> str:
    """A hint for a misspelt field: the known name nearest to it."""
    names = [word for full in flatten(Config()) for word in full.split(".")]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
