import subprocess
import sys

import pytest
from archives import REPOSITORY

from svhn_jax.errors import InputError
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.results import RESULT_COLUMNS, merge_results, results, results_path

ROW = dict.fromkeys(RESULT_COLUMNS[1:], 0.5) | {"examples": 3.0}


def test_results_are_merged_and_sorted_by_step(tmp_path):
    run = RunFolder(str(tmp_path))
    merge_results(run, "test", {1000: ROW, 200: ROW}, "print")
    merge_results(run, "test", {30: ROW, 200: ROW | {"loss": 0.25}}, "print")
    path = results_path(run, "test")
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(RESULT_COLUMNS)
    assert RESULT_COLUMNS[:3] == ("step", "examples", "loss")
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["30", "3", "0.5000"],
        ["200", "3", "0.2500"],
        ["1000", "3", "0.5000"],
    ]


def test_a_results_file_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="not a table of ours"):
        merge_results(RunFolder(str(tmp_path)), "test", {1: ROW}, "print")
    assert (tmp_path / "results" / "test.csv").read_text() == "a,b\n1,2\n"


def test_results_on_other_data_are_not_mixed_in(tmp_path):
    run = RunFolder(str(tmp_path))
    merge_results(run, "test", {1: ROW}, "print")
    path = results_path(run, "test")
    before = path.read_text()
    with pytest.raises(InputError, match="holds results on other data"):
        merge_results(run, "test", {2: ROW}, "another print")
    assert path.read_text() == before


def test_processes_that_write_at_once_lose_no_row(tmp_path):
    code = (
        "import sys\n"
        "from svhn_jax.runs.folder import RunFolder\n"
        "from svhn_jax.runs.results import RESULT_COLUMNS, merge_results\n"
        "row = dict.fromkeys(RESULT_COLUMNS[1:], 0.5)\n"
        "for step in range(int(sys.argv[2]), 60, 3):\n"
        "    merge_results(RunFolder(sys.argv[1]), 'test', {step: row}, 'print')\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)], cwd=REPOSITORY)
        for first in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert [row["step"] for row in results(RunFolder(str(tmp_path)), "test")] == list(range(60))
    assert not list(tmp_path.rglob("*.partial"))
