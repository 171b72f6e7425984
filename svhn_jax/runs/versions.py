"""What a run's bits depend on beside its configuration and data: the libraries, and the code that computes."""

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
# Whatever decides what a step computes, and on which images.
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
    "model/randomness",
    "model/winograd",
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
    return hashlib.sha256(repr([_content(ast.parse(source)) for source in sources]).encode()).hexdigest()


def notes(saved: Iterable[Mapping[str, str]]) -> list[str]:
    """What a user is told of checkpoints that were saved with other versions than these, each line once.

    saved: of each checkpoint, its versions; empty where they are not known.
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
            changed = ", ".join(f"{name} {printable(str(known.get(name)))} -> {now[name]}" for name in names)
            lines.append(f"note: other versions than the checkpoint's, so its last bits may differ: {changed}")
    return list(dict.fromkeys(lines))


def _content(node: Any) -> Any:
    """A syntax tree as nested tuples: no docstrings, no positions, none of the empty fields that Python versions add."""
    if isinstance(node, list):
        return [_content(item) for item in node if not _is_text(item)]
    if isinstance(node, ast.AST):
        fields = [(name, _content(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [(name, value) for name, value in fields if value not in (None, [])]
    return node


def _is_text(node: Any) -> bool:
    """A statement that is only a string: a docstring, or the description of a field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
