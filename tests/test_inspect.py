"""python -m svhn_jax.inspect: what is there, what was left out, and what is damaged."""

import json

import numpy as np
import pytest
from archives import MAT, fields, mat_bytes, png, split_files, write_split
from PIL import Image

from svhn_jax import cli, inspect, preprocess
from svhn_jax.data import statistics

YELLOW = (255, 210, 0)


@pytest.fixture
def raw(tmp_path):
    box = [[4.0, 6, 6, 12]]
    records = [
        ("1.png", fields("5", box)),
        ("2.png", fields("123456", [[1.0 + 6 * i, 6, 6, 12] for i in range(6)])),
        ("3.png", fields("41", [[14.0, 6, 6, 12], [4, 6, 6, 12]])),
        ("4.png", fields("8", [[-2.0, 6, 10, 12]])),
        ("5.png", fields("9", box)),
        ("6.png", {}),
        ("7.png", fields("3", box)),
        ("9.png", fields("3", [[100.0, 6, 6, 12]])),
    ]
    files = {f"{i}.png": png() for i in (1, 2, 3, 4, 6, 8, 9)} | {"7.png": b"junk", "x y.txt": b""}
    write_split(tmp_path / "raw", "train", files | {MAT: mat_bytes(tmp_path, records)})
    return tmp_path / "raw"


def show(capfd, *arguments):
    """The status, and what is printed for people and as errors."""
    status = cli.call(inspect.Options, inspect.main, [*map(str, arguments)])
    return status, *capfd.readouterr()


def prepare(raw, to, *options):
    arguments = ["--raw", raw, "--to", to, "--validation-fraction", 0, *options]
    assert cli.call(preprocess.Options, preprocess.main, [*map(str, arguments)]) == 0


SKIPPED = {  # why each photo of `raw` is left out
    "6.png": "no field label",
    "7.png": "not a readable image",
    "8.png": "no record of that name",
    "9.png": "its boxes lie outside the photo",
    "x y.txt": "not the name of a photo",
    "5.png": "no such photo",
}


def test_raw_photos_are_counted_and_every_one_left_out_is_named(raw, tmp_path, capfd):
    status, shown, _ = show(capfd, raw, "--sheet", tmp_path / "sheet.png")
    assert status == 0
    assert "4 numbers; by digits: 2 of 1, 1 of 2, 1 of more" in shown
    lines = [line for line in shown.splitlines() if "skipped: 1 x" in line]
    assert all(any(SKIPPED[name] in line and name in line for line in lines) for name in SKIPPED)
    for line in (
        "suspicious: 1 x its box reaches past the photo's edge: 4.png",
        "suspicious: 1 x more than 5 digits: 2.png",
    ):
        assert line in shown
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (np.asarray(sheet) == YELLOW).all(axis=-1).any()
    _, shown, _ = show(capfd, raw, "--max-digits", 6)
    assert "1 of 6" in shown


def test_a_prepared_set_shows_the_same(raw, tmp_path, capfd):
    prepare(raw, tmp_path / "set")
    capfd.readouterr()
    _, shown, _ = show(capfd, tmp_path / "set", "--sheet", tmp_path / "sheet.png", "--photos", 2)
    assert "4 numbers; by digits: 2 of 1, 1 of 2, 1 of more" in shown
    assert "suspicious: 1 x more than 5 digits: train/2.png" in shown
    assert "no field label: 6.png" in shown
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet)[:118, :118].all()
    _, shown, _ = show(capfd, tmp_path / "set", "--json")
    [train, *_] = json.loads(shown)["splits"]
    assert (train["numbers"], train["lengths"]) == (4, [0, 2, 1, 0, 0, 0, 1])
    assert train["suspicious"]["more than 5 digits"] == ["train/2.png"]


def test_verify_finds_changed_bytes(tmp_path, capfd):
    write_split(tmp_path / "raw", "train", split_files(tmp_path, ["5", "17"]))
    prepare(tmp_path / "raw", tmp_path / "set")
    assert show(capfd, tmp_path / "set", "--verify")[0] == 0
    labels = tmp_path / "set" / "train" / "labels.npy"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\7")
    status, _, errors = show(capfd, tmp_path / "set", "--verify", "--quiet")
    assert (status, f"DAMAGED: {labels}\n" in errors) == (1, True)


def test_digits_are_counted_by_length_and_position():
    targets = np.array([[2, 1, 7, 10, 10, 10], [1, 7, 10, 10, 10, 10]], np.int32)
    counts = statistics.positions(targets)
    assert counts.shape == (5, 11)
    assert [*counts[0, [1, 7]], *counts[1, [7, 10]], counts[4, 10]] == [1, 1, 1, 1, 2]
    assert statistics.lengths(targets).tolist() == [0, 1, 1, 0, 0, 0, 0]


def test_sizes_have_quantiles():
    sizes, boxes = np.array([[100, 50]] * 99 + [[300, 50]]), np.array([[1.0, 2, 20, 40]] * 100)
    found = statistics.quantiles(boxes, sizes)
    assert found["photo width, pixels"][2:5:2] == [100, 300]
    assert found["number width / height"] == [0.5] * 5
    assert found["number height / photo height"] == [0.8] * 5


def test_shapes_that_few_published_numbers_have_are_suspicious():
    targets = np.array([[1, 1, 10, 10, 10, 10]] * 2 + [[4, 1, 1, 1, 1, 10]], np.int32)
    boxes = np.array([[5.0, 5, 10, 20], [5, 5, 30, 20], [5, 5, 10, 20]])
    found = statistics.suspicious(targets, boxes, np.array([[60, 40]] * 3))
    assert {reason: rows.tolist() for reason, rows in found.items()} == {
        "very wide for so few digits": [1],
        "very narrow for so many digits": [2],
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["."], "none of train, test, extra"),
        ([".", "--verify"], "no prepared data set"),
        ([".", "--photos", "0"], "--photos"),
        ([".", "--sheet", "a.jpg"], "--sheet"),
    ],
)
def test_a_folder_of_nothing_and_a_bad_option_are_one_line(
    tmp_path, monkeypatch, capfd, arguments, words
):
    monkeypatch.chdir(tmp_path)
    status, _, errors = show(capfd, *arguments)
    assert (status, words in errors) == (1, True)
