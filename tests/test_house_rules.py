"""Lint, types, and the direction of imports."""

import ast
import importlib.util
import subprocess
import sys

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "svhn_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Imports run one way: a module imports only from layers before its own, or from its own.
LAYERS = (
    {"errors", "config", "labels", "__init__"},
    {"config_files", "locks", "checksums", "versions", "options", "command_line", "user_cache"},
    {"data", "convolution", "model", "augment", "losses", "metrics", "optim"},
    {"report", "state", "parallel", "compiling"},
    {"checkpoint", "run_folder", "steps", "training_data", "remote_data", "signals", "profiling"},
    {"scoring", "summaries", "input_pipeline", "timing", "trainer"},
    {"loop"},
    {"training_run", "evaluation", "benchmarking"},
    {"train", "evaluate", "preprocess", "synthesize", "demo", "download", "inspect", "benchmark", "__main__"},
)
COMMANDS = LAYERS[-1]


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
        "[__import__(m.name) for m in pkgutil.iter_modules(svhn_jax.data.__path__, 'svhn_jax.data.')]\n"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_training_needs_no_tensorflow():
    code = "import sys, svhn_jax.training_run, svhn_jax.evaluation\nsys.exit(any(m.startswith('tensorflow') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=REPOSITORY).returncode == 0


def test_orbax_is_imported_in_one_place():
    assert [path.name for path in MODULES if any(name.startswith("orbax") for name in imports_of(path))] == [
        "checkpoint.py"
    ]


def test_nobody_imports_a_command():
    for path in MODULES:
        imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("svhn_jax.")}
        assert not imported & COMMANDS, path


def test_imports_run_one_way():
    layer_of = {module: number for number, layer in enumerate(LAYERS) for module in layer}
    for path in MODULES:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports_of(path):
            imported = name.split(".")[1] if name.startswith("svhn_jax.") else ""
            if imported in layer_of:
                assert layer_of[imported] <= layer_of[own], f"{path} imports {name}"


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=["check", "format"])
def test_ruff(command):
    if not importlib.util.find_spec("ruff"):
        pytest.fail("ruff is not installed; pip install -e .[dev]")
    done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
