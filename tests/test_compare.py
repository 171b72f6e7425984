import csv
import json

import numpy as np
import pytest
from tiny import save_run

from svhn_jax import cli, compare
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.labels import encode_text

NAMES = ["a.png", "b.png", "c.png", "d.png"]
TRUTHS = ["12", "007", "3", "45"]


def write(path, texts, names=NAMES, truths=TRUTHS):
    labels = [np.stack([encode_text(text) for text in column]) for column in (truths, texts)]
    confidence, digit_p = np.full(len(names), 0.5), np.full((len(names), 5), np.nan)
    path.write_text(PredictionTable(names, *labels, confidence, confidence, digit_p).to_csv())


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """call(*options): the status, and the text printed to stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "first.csv", ["12", "007", "8", "4"])
    write(tmp_path / "second.csv", ["12", "07", "3", "45"])

    def call(*options, sources=("first.csv", "second.csv")):
        status = cli.call(compare.Options, compare.main, [*sources, *options])
        return status, "".join(capsys.readouterr())

    return call


def test_prints_the_difference_and_the_photos(call, tmp_path):
    status, printed = call("--csv", "d.csv")
    assert status == 0
    line = "first.csv:\n  2, 50.00% (95 % interval 15.00% to 85.00%), 1 right only here\n"
    assert line in printed
    assert "second less first: +25.00 points" in printed
    assert "McNemar's exact test: p = 1" in printed  # 1 against 2: 2 * (1 + 3) / 2**3
    rows = list(csv.DictReader((tmp_path / "d.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["b.png", "c.png", "d.png"]
    assert (rows[0]["truth"], rows[0]["first"], rows[0]["second"]) == ("007", "007", "07")


def test_json_is_one_line(call):
    assert call("--quiet") == (0, "")
    _, printed = call("--json")
    values = json.loads(printed)
    counts = [values[name] for name in ("both", "only_first", "only_second", "neither")]
    assert counts == [1, 1, 2, 0]
    assert values["difference"]["share"] == 0.25


def test_steps_of_a_run_are_scored(call, tmp_path):
    run, _, _ = save_run(tmp_path)
    sources = (f"{run.path}@7", str(run.path))
    status, printed = call("--split", "validation", "--json", sources=sources)
    assert status == 0
    values = json.loads(printed)
    assert (values["first"], values["second"]) == (f"{run.path}@7", f"{run.path}@7")
    assert (values["photos"], values["only_first"], values["difference"]["share"]) == (4, 0, 0)


@pytest.mark.parametrize("name", ["nowhere/d.csv", "d.txt"])
def test_a_table_that_cannot_be_written_is_noticed_before_the_work(call, tmp_path, name):
    (tmp_path / "first.csv").write_text("no table")
    status, printed = call("--csv", name)
    assert (status, printed.count("\n")) == (1, 1)
    assert f"error: --csv is {name}" in printed


def test_other_photos_are_refused(call, tmp_path):
    write(tmp_path / "second.csv", TRUTHS, names=["a.png", "b.png", "c.png", "other.png"])
    assert call() == (1, "error: row 4 is d.png 45 in first.csv, other.png 45 in second.csv\n")
    (tmp_path / "second.csv").unlink()
    assert "second.csv" in call()[1]
