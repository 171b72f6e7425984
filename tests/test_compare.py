import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svhn_jax import compare as command
from svhn_jax.inference import predictions
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.labels import encode_text

NAMES = ["a.png", "b.png", "c.png", "d.png"]
TRUTHS = ["12", "007", "3", "45"]


def write(path, texts, names=NAMES, truths=TRUTHS):
    labels = [np.stack([encode_text(text) for text in column]) for column in (truths, texts)]
    confidence = np.full(len(names), 0.5)
    table = PredictionTable(
        names, *labels, confidence, confidence, np.full((len(names), 5), np.nan)
    )
    path.write_text(table.to_csv())


def compare(folder, *options, status=0):
    command = [sys.executable, "-m", "svhn_jax.compare", "first.csv", "second.csv", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "first.csv", ["12", "007", "8", "4"])
    write(tmp_path / "second.csv", ["12", "07", "3", "45"])
    return tmp_path


def test_prints_the_difference_and_the_photos(folder):
    printed = compare(folder, "--csv", "d.csv")
    assert (
        "first.csv:\n  2, 50.00% (95 % interval 15.00% to 85.00%), 1 right only here\n" in printed
    )
    assert "second less first: +25.00 points" in printed
    assert "McNemar's exact test: p = 1" in printed  # 1 against 2: 2 * (1 + 3) / 2**3
    rows = list(csv.DictReader((folder / "d.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["b.png", "c.png", "d.png"]
    assert (rows[0]["truth"], rows[0]["first"], rows[0]["second"]) == ("007", "007", "07")


def test_where_a_run_is_scored_the_windows_are_told(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        command, "_open", lambda source, _: (source, predictions.read(Path("first.csv")))
    )
    monkeypatch.setattr(sys, "argv", ["compare", "runs/a@3", "second.csv"])
    command.main()
    printed = capsys.readouterr().out
    assert printed.startswith("4 photos; right of them (runs read in one window, without --tta):\n")
    assert compare(folder).startswith("4 photos; right of them:\n")


def test_json_is_one_line(folder):
    printed = compare(folder, "--json")
    assert printed.count("\n") == 1
    assert compare(folder, "--quiet") == ""
    values = json.loads(printed)
    assert [values[name] for name in ("both", "only_first", "only_second", "neither")] == [
        1,
        1,
        2,
        0,
    ]
    assert values["difference"]["share"] == 0.25


def test_text_fits_80_columns(folder):
    printed = compare(folder)
    assert max(map(len, printed.splitlines())) <= 80


def test_a_table_that_cannot_be_written_is_noticed_before_the_work(folder):
    (folder / "first.csv").write_text("no table")
    for name in ("nowhere/d.csv", "d.txt"):
        wanted = (
            f"error: --csv is {name}; it must be the name of a .csv file, in a folder that exists\n"
        )
        assert compare(folder, "--csv", name, status=1) == wanted
    assert compare(folder, "--csv", "second.csv", status=1).startswith(
        "error: --csv is second.csv, which is read; give"
    )


def test_other_photos_and_no_photos_are_refused_in_one_line(folder):
    write(folder / "second.csv", TRUTHS, names=["a.png", "b.png", "c.png", "other.png"])
    assert (
        compare(folder, status=1)
        == "error: row 4 is d.png in first.csv and other.png in second.csv\n"
    )
    (folder / "second.csv").unlink()
    assert compare(folder, status=1).count("\n") == 1
    header = (folder / "first.csv").read_text().splitlines()[0] + "\n"
    for name in ("first.csv", "second.csv"):
        (folder / name).write_text(header)
    assert "has no photo to compare" in compare(folder, status=1)
