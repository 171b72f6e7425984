"""Versions of the libraries and a checksum of the computing code, on which the exact results of a run depend."""

import ast
import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import svhn_jax
from svhn_jax.errors import printable

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
CODE = "code"
# The modules that decide what a step computes, and on which images.
COMPUTING = (
    "config",
    "labels",
    "model/augment",
    "model/decode",
    "model/inputs",
    "model/layers",
    "model/losses",
    "model/metrics",
    "model/networks",
    "model/normalization",
    "model/randomness",
    "model/winograd",
    "training/compilation",
    "training/dataset",
    "training/evaluator",
    "training/input_pipeline",
    "training/optimizer",
    "training/state",
    "training/steps",
)


def versions() -> dict[str, str]:
    """Versions of the package, the libraries and Python; under "code", the SHA-256 of the modules that compute."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    sources = [(Path(svhn_jax.__path__[0]) / f"{module}.py").read_text() for module in COMPUTING]
    python = {"python": platform.python_version()}
    return {"svhn_jax": svhn_jax.__version__} | found | python | {CODE: code_sha256(sources)}


def code_sha256(sources: Sequence[str]) -> str:
    """SHA-256 of Python sources, the same whatever their comments, docstrings and layout, and Python's version."""
    return hashlib.sha256(
        repr([_content(ast.parse(source)) for source in sources]).encode()
    ).hexdigest()


def notes(saved: Iterable[Mapping[str, str]]) -> list[str]:
    """Notes on checkpoints that were saved with other versions, each line once.

    saved: the versions of each checkpoint; empty if unknown.
    """
    now, lines = versions(), []
    for known in filter(None, saved):
        if known.get(CODE) != now[CODE]:
            lines.append(
                "note: the code that computes a step has changed since the checkpoint was saved; results may differ"
            )
        names = [name for name in now if name != CODE and known.get(name) != now[name]]
        if names:
            # A checkpoint may come from a stranger.
            changed = ", ".join(
                f"{name} {printable(str(known.get(name)))} -> {now[name]}" for name in names
            )
            lines.append(
                f"note: other versions than the checkpoint's, so its last bits may differ: {changed}"
            )
    return list(dict.fromkeys(lines))


def _content(node: Any) -> Any:
    """A syntax tree as nested tuples, without docstrings, positions, and empty fields, which differ by Python version."""
    if isinstance(node, list):
        return [_content(item) for item in node if not _is_text(item)]
    if isinstance(node, ast.AST):
        fields = [(name, _content(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [
            (name, value) for name, value in fields if value not in (None, [])
        ]
    return node


def _is_text(node: Any) -> bool:
    """A statement that is only a string: a docstring, or the description of a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
