"""Versions on which the exact results of a run depend: this package, its commit, libraries."""

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import svhn_jax
from svhn_jax.errors import printable

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Versions of this package, its git commit if it runs from a checkout, libraries and Python."""
    found = {"svhn_jax": svhn_jax.__version__, "commit": _commit()}
    found |= {name: metadata.version(name) for name in LIBRARIES}
    return found | {"python": platform.python_version()}


def note(saved: Mapping[str, str]) -> str:
    """One line that names what has changed since these versions; empty if nothing has."""
    now = versions()
    changed = [
        f"{name} {saved.get(name)} -> {now[name]}" for name in now if now[name] != saved.get(name)
    ]
    text = f"note: the run was saved by other code, so results may differ: {', '.join(changed)}"
    return printable(text) if changed else ""


def _commit() -> str:
    """The commit of the checkout, with "-dirty" if files were changed; empty if there is none."""
    root = Path(svhn_jax.__path__[0]).parent
    if not (root / ".git").exists():  # installed: a repository further up is another project's
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
