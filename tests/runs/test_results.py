import pytest

from svhn_jax.errors import InputError
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.results import RESULT_COLUMNS, merge_results, results, results_path

ROW = dict.fromkeys(RESULT_COLUMNS[1:], 0.5) | {"examples": 3.0}


def test_results_are_merged_and_sorted_by_step(tmp_path):
    run = RunFolder(str(tmp_path))
    merge_results(run, "test", {1000: ROW, 200: ROW})
    merge_results(run, "test", {30: ROW, 200: ROW | {"loss": 0.25}})
    header, *lines = results_path(run, "test").read_text().splitlines()
    assert header == ",".join(RESULT_COLUMNS)
    assert [line.split(",")[:4] for line in lines] == [
        ["30", "3", "0.5000", "0.500000"],
        ["200", "3", "0.2500", "0.500000"],
        ["1000", "3", "0.5000", "0.500000"],
    ]
    assert results(run, "test")[1] == ROW | {"step": 200, "loss": 0.25}


def test_a_results_file_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"test\.csv"):
        merge_results(RunFolder(str(tmp_path)), "test", {1: ROW})
    assert (tmp_path / "results" / "test.csv").read_text() == "a,b\n1,2\n"
