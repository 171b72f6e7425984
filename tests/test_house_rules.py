"""Lint, types, and the direction of imports."""

import ast
import importlib.util
import subprocess
import sys

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "svhn_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Imports run from a folder to folders of a lower rank. The root holds commands and shared modules.
RANKS = {
    "base": 0,
    "data": 1,
    "model": 1,
    "runs": 2,
    "training": 3,
    "finding": 4,
    "inference": 5,
    "exporting": 6,
    "reports": 6,
    "serving": 6,
    "command": 7,
}


def imports_of(path):
    """Full names of all modules and names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_reading_and_cropping_photos_needs_no_jax():
    code = (
        "import sys, pkgutil, svhn_jax.data, svhn_jax.preprocess, svhn_jax.synthesize\n"
        "modules = pkgutil.walk_packages(svhn_jax.data.__path__, 'svhn_jax.data.')\n"
        "[__import__(module.name) for module in modules]\n"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_orbax_is_imported_in_one_place():
    assert [
        path.name for path in MODULES if any(name.startswith("orbax") for name in imports_of(path))
    ] == ["checkpoint.py"]


def folder_of(module):
    """The rank's name: of svhn_jax.data.crop "data"; of a module of the root "command" or "base".

    The package itself counts as a command: nothing in the package imports a name of it.
    """
    parts = module.split(".")[1:]
    if parts == ["__init__"]:
        return "command"
    if len(parts) > 1 or (PACKAGE / parts[0]).is_dir():
        return parts[0]
    return "command" if "\ndef main(" in (PACKAGE / f"{parts[0]}.py").read_text() else "base"


def test_imports_run_one_way():
    names = {path: ".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in MODULES}
    for path, module in names.items():
        for imported in imports_of(path) & {*names.values()} - {"svhn_jax.__init__"}:
            here, there = folder_of(module), folder_of(imported)
            assert here == there != "command" or RANKS[there] < RANKS[here], (
                f"{module} imports {imported}"
            )


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=["check", "format"])
def test_ruff(command):
    if not importlib.util.find_spec("ruff"):
        pytest.fail("ruff is not installed; pip install -e .[dev]")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy():
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
