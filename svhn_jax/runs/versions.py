"""Versions on which the exact results of a run depend: this package, its commit, libraries."""

import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import svhn_jax

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Versions of this package, its git commit if it runs from a checkout, libraries and Python."""
    found = {"svhn_jax": svhn_jax.__version__, "commit": ""}
    root = Path(svhn_jax.__path__[0]).parent
    if (root / ".git").exists():  # a repository further up is another project's
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=5)
            found["commit"] = done.stdout.strip()
    found |= {name: metadata.version(name) for name in LIBRARIES}
    return found | {"python": platform.python_version()}


def note(saved: Mapping[str, str]) -> str:
    """One line that names what has changed since these versions; empty if nothing has."""
    now = versions()
    changed = [
        f"{name} {saved.get(name)!r} -> {now[name]!r}"
        for name in now
        if now[name] != saved.get(name)
    ]
    text = f"note: the run was saved by other code, so results may differ: {', '.join(changed)}"
    return text if changed else ""
