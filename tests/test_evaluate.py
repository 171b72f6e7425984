"""The evaluate command on a run of random weights, and on whole photos with the shipped ones."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny import save_run

from svhn_jax import cli, evaluate
from svhn_jax.data.synthetic.render import render


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("evaluate"))[0].path


@pytest.fixture
def command(capfd):
    """Runs the command in this process; returns its status, stdout and the lines of stderr."""

    def call(*arguments):
        argv = [*map(str, arguments)]
        status = cli.call(evaluate.Options, evaluate.main, argv)
        printed = capfd.readouterr()
        return status, printed.out, printed.err.splitlines()

    return call


def test_table_predictions_and_json_agree(run, command, tmp_path):
    status, printed, errors = command("--run", run, "--json")
    assert (status, errors, printed.count("\n")) == (0, [], 1)
    values = json.loads(printed)
    [row] = values["steps"]
    with open(run / "results/predictions/validation-7.csv") as stream:
        predictions = list(csv.DictReader(stream))
    with open(run / "results/validation.csv") as stream:
        [written] = csv.DictReader(stream)
    assert (row["step"], written["step"]) == (7, "7")
    assert len(predictions) == row["examples"] == int(written["examples"]) == 4
    right = [one["truth"] == one["prediction"] for one in predictions]
    assert np.mean(right) == row["sequence_accuracy"] == float(written["sequence_accuracy"])
    assert sum(total for _, total in values["last_step"]["by_length"].values()) == 4
    assert command("--run", run, "--quiet") == (0, "", [])


def test_what_is_printed(run, command):
    status, printed, _ = command("--run", run, "--step", "7", "--split", "train")
    assert status == 0
    assert "by length" in printed
    assert max(map(len, printed.splitlines()[1:3])) <= 80


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "--run"),
        (["--config", "a.py", "--run", "r"], "--config"),
        (["--run", "nosuch"], "nosuch"),
        (["--run", "https://x/y"], "https"),
        (["--run", "RUN", "--step", "lates"], "--step"),
        (["--run", "RUN", "--split", "test"], "train, validation"),
        (["--search", "nosuch"], "nosuch"),
        (["--search", "nosuch", "--data", "nosuch"], "without --data"),
        (["--empty", "nosuch"], "nosuch"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(run, command, options, named):
    status, _, [error] = command(*[run if one == "RUN" else one for one in options])
    assert (status, named in error) == (1, True)


def test_a_damaged_step_is_left_out_of_all_and_one_line_by_itself(run, command, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(copy / "steps/7", copy / "steps/8")
    shutil.rmtree(copy / "steps/8/state")
    status, printed, [error] = command("--run", copy, "--step", "all", "--json")
    values = json.loads(printed)
    assert (status, [row["step"] for row in values["steps"]]) == (1, [7])
    assert "steps/8" in error
    status, printed, [error] = command("--run", copy, "--step", "8", "--json")
    assert (status, printed, "steps/8" in error) == (1, "", True)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A folder of three photos of numbers with labels.csv, and one of a grey picture."""
    folder = tmp_path_factory.mktemp("street")
    rows = []
    for seed in range(3):
        photo, digits, _ = render(np.random.default_rng([77, seed]))
        photo.save(folder / f"{seed}.png")
        rows.append(f"{seed}.png,{''.join(map(str, digits))},horizontal\n")
    (folder / "labels.csv").write_text("file,label,layout\n" + "".join(rows))
    (folder / "empty").mkdir()
    Image.new("RGB", (60, 40), "grey").save(folder / "empty/grey.png")
    return folder


def test_whole_photos_are_scored_by_the_shipped_weights(street, command):
    options = ["--search", street, "--empty", street / "empty"]
    status, printed, errors = command(*options, "--json")
    assert (status, errors) == (0, [])
    values = json.loads(printed)
    assert values["search"]["photos"] == 3
    assert values["search"]["by_layout"] == {"horizontal": [values["search"]["right"], 3]}
    assert (values["empty"]["photos"], values["empty"]["none"]) == (1, 1)
    status, printed, _ = command(*options)
    assert f"  right               {values['search']['right']}\n" in printed
    assert "horizontal: " in printed
