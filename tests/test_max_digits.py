"""Meters of seven digits, from photos with labels.csv to a report: every command."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image
from tiny import CONFIG, write_config

from svhn_jax import cli, evaluate, labels, preprocess, train
from svhn_jax.config import DataConfig
from svhn_jax.data import arrays
from svhn_jax.data.synthetic import typesetting
from svhn_jax.runs.folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
READINGS = {split: [f"{7919 * n % 10**7:07d}" for n in numbers] for split, numbers in
            {"train": range(1, 41), "test": range(41, 51)}.items()}  # fmt: skip


def write_photos(folder, readings):
    """A photo of each reading in a random typeface, and labels.csv with its box."""
    folder.mkdir(parents=True)
    rows = [["file", "label", "left", "top", "width", "height"]]
    for number, reading in enumerate(readings):
        mask, boxes = typesetting.typeset(
            np.random.default_rng(number), tuple(map(int, reading)), 24.0
        )
        photo = Image.new("RGB", (mask.width + 40, mask.height + 30), (40, 44, 52))
        photo.paste((235, 230, 220), (20, 15), mask)
        photo.save(folder / f"{number}.png")
        left, top = boxes[:, :2].min(axis=0)
        right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
        rows.append([f"{number}.png", reading, 20 + left, 15 + top, right - left, bottom - top])
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    (folder / "labels.csv").write_text(text.getvalue())


def run(command, *arguments):
    """The exit status of a command, run in this process."""
    return cli.call(command.Options, command.main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Photos of meters in mine/, arrays of eight digits in data/, and a run of six steps."""
    folder = tmp_path_factory.mktemp("meters")
    for split, readings in READINGS.items():
        write_photos(folder / "mine" / split, readings)
    write_config(folder, dataclasses.replace(CONFIG, num_steps=6, data=DataConfig(dir="data")))
    options = ["--size", 24, "--max-digits", 8, "--validation-fraction", 0.2]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        assert run(preprocess, "--raw", "mine", "--to", "data", *options) == 0
        assert run(train, "--config", "tiny.py", "--processes", 1) == 1  # labels of five digits
        assert not (folder / "checkpoints").exists()
        eight = ["--model.max-digits", 8, "--processes", 1]
        assert run(train, "--config", "tiny.py", *eight) == 0
    return folder


@pytest.fixture
def here(workplace, monkeypatch):
    monkeypatch.chdir(workplace)


def test_the_arrays_hold_every_digit_and_the_zeros_in_front(here):
    manifest = arrays.read_manifest("data")
    assert manifest["max_digits"] == 8
    assert manifest["splits"]["validation"]["lengths"] == {"7": 8}
    targets = arrays.load_split("data", "test").labels
    assert [labels.decode(label) for label in targets] == READINGS["test"]
    assert READINGS["test"][0].startswith("0")


def test_evaluate_scores_eight_digits(here, capfd):
    chosen = ["--split", "test", "--step", "latest", "--json"]
    assert run(evaluate, "--run", "checkpoints/tiny", *chosen) == 0
    values = json.loads(capfd.readouterr().out)["last_step"]
    assert list(values["by_length"]) == ["7"]
    assert list(values["by_position"]) == [str(n) for n in range(1, 8)]
    (path,) = (RunFolder("checkpoints/tiny").path / "results" / "predictions").glob("test-6.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert list(rows[0])[-8:] == [f"digit_{n}_p" for n in range(1, 9)]
    assert [row["truth"] for row in rows] == READINGS["test"]
    for row in rows:
        shares = [float(row["length_p"]), *(float(row[f"digit_{n}_p"] or 1) for n in range(1, 9))]
        assert float(row["confidence"]) == pytest.approx(np.prod(shares), abs=1e-4)
