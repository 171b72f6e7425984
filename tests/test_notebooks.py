"""The notebooks run top to bottom, and are committed without outputs."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
TRAINING = ("3_model_evaluation", "4_overfitting")
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=900, resources={"metadata": {"path": "notebooks"}}).execute()
nbformat.write(notebook, sys.argv[1])
"""


def code_cells(text):
    return [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_without_outputs_and_has_a_preview(path):
    assert all(cell["outputs"] == [] for cell in code_cells(path.read_text()))
    assert (REPOSITORY / f"docs/notebooks/{path.stem}.png").is_file()


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in TRAINING))
        for path in NOTEBOOKS
    ],
)
def test_runs_top_to_bottom(path, tmp_path, one_device_env):
    """With fewer photos and steps."""
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    (tmp_path / "notebooks").mkdir()
    text = re.sub(r"--train (\d+)00 ", r"--train 400 ", path.read_text())
    copy = tmp_path / "notebooks" / path.name
    copy.write_text(re.sub(r"--num-steps \d+", "--num-steps 20", text))
    command = [sys.executable, "-W", "ignore", "-c", EXECUTE, copy]
    env = one_device_env | {"IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in code_cells(copy.read_text()) for output in cell["outputs"]]
    printed = [output.get("text") for output in outputs if output.get("name") == "stderr"]
    pictures = [kind for output in outputs for kind in output.get("data", {})]
    assert not printed
    assert "image/png" in pictures or "text/html" in pictures
