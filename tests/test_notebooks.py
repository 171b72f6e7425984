"""The notebooks run top to bottom where nothing was made yet, and are committed without outputs."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
QUICK = "1_raw_images"  # the others train, or render more photos
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=900, resources={"metadata": {"path": "notebooks"}}).execute()
nbformat.write(notebook, sys.argv[1])
"""


def test_there_are_four():
    topics = ("1_raw_images", "2_sample_analysis", "3_model_evaluation", "4_overfitting")
    assert tuple(path.stem for path in NOTEBOOKS) == topics
    assert {path.stem for path in (REPOSITORY / "docs/notebooks").glob("*.png")} == {*topics}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_without_outputs(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem == QUICK else pytest.mark.slow)
        for path in NOTEBOOKS
    ],
)
def test_runs_top_to_bottom_from_a_clean_state(path, tmp_path, one_device_env):
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    (tmp_path / "notebooks").mkdir()
    shutil.copy(path, tmp_path / "notebooks")
    command = [sys.executable, "-W", "ignore", "-c", EXECUTE, f"notebooks/{path.name}"]
    env = one_device_env | {"IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "notebooks" / path.name).read_text())["cells"]
    outputs = [
        output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]
    ]
    assert any(
        "image/png" in output.get("data", {}) or "text/html" in output.get("data", {})
        for output in outputs
    )
    assert not [
        output
        for output in outputs
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
