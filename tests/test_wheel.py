"""The wheel holds everything that a user without the repository needs."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import REPOSITORY
from PIL import Image

pytest.importorskip("setuptools", minversion="77")
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an unpacked wheel."""
    source = tmp_path_factory.mktemp("source")
    skipped = shutil.ignore_patterns("__pycache__", "results")
    shutil.copytree(REPOSITORY / "svhn_jax", source / "svhn_jax", ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    command = [sys.executable, "-c", BUILD]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [wheel] = source.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(source / "site")
    return source / "site"


def test_a_wheel_has_every_file_of_the_package(installed):
    listed = subprocess.run(
        ["git", "ls-files", "svhn_jax"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = [name for name in listed.stdout.split("\n") if (REPOSITORY / name).is_file()]
    assert [name for name in tracked if not (installed / name).is_file()] == []


def test_predict_reads_a_photo_from_the_wheel_in_any_folder(installed, tmp_path):
    Image.new("RGB", (60, 40), "grey").save(tmp_path / "door.png")
    environment = os.environ | {"PYTHONPATH": str(installed), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", "svhn_jax.predict", "door.png", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '"door.png"' in done.stdout
