"""python -m svhn_jax.inspect: it tells what is there, what was left out, and what is damaged."""

import sys

import numpy as np
import pytest
import tiny
from archives import (
    MAT,
    assert_one_error_line,
    fields,
    mat_bytes,
    png,
    run_python,
    split_files,
    write_split,
)
from PIL import Image
from rich.console import Console

from svhn_jax import inspect, output, preprocess
from svhn_jax.data import pictures, statistics
from svhn_jax.data.records import Record
from svhn_jax.errors import InputError
from svhn_jax.output import Output


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
    ]
    files = {f"{i}.png": png() for i in (1, 2, 3, 4, 6, 8)} | {"7.png": b"junk", "x y.txt": b""}
    write_split(tmp_path / "raw", "train", files | {MAT: mat_bytes(tmp_path, records)})
    return tmp_path / "raw"


def show(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["inspect", *map(str, arguments)])
    status = inspect.main()
    return status, capsys.readouterr().out


def test_raw_photos_are_counted_and_every_one_left_out_is_named(raw, tmp_path, capsys, monkeypatch):
    status, shown = show(capsys, monkeypatch, raw, "--sheet", tmp_path / "sheet.png")
    assert status == 0
    assert "4 numbers; by digits: 2 of 1, 1 of 2, 1 of more" in shown
    for line in (
        "skipped: 1 x no box: its bbox has no field label: 6.png",
        "skipped: 1 x not a readable image; convert it to PNG or JPEG: 7.png",
        "skipped: 1 x no record of that name: 8.png",
        "skipped: 1 x not the name of a photo: x y.txt",
        "skipped: 1 x no such photo: 5.png",
        "suspicious: 1 x its box reaches past the photo's edge: 4.png",
        "suspicious: 1 x more than 5 digits: 2.png",
        "suspicious: 1 x digits not from left to right: 3.png",
    ):
        assert line in shown
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (np.asarray(sheet) == (255, 210, 0)).all(axis=-1).any()  # boxes are drawn


def test_longer_numbers_of_raw_photos_and_of_prepared_ones_are_counted_by_their_length(
    raw, tmp_path, capsys, monkeypatch
):
    _, shown = show(capsys, monkeypatch, raw, "--max-digits", 6)
    assert "4 numbers; by digits: 2 of 1, 1 of 2, 1 of 6" in shown
    assert "more than" not in shown
    header = next(line for line in shown.splitlines() if "position 1" in line)
    assert header.replace("┃", "").split() == ["digit", "position", *"123456"]
    arguments = [
        "--raw",
        raw,
        "--to",
        tmp_path / "set",
        "--max-digits",
        6,
        "--validation-fraction",
        0,
    ]
    monkeypatch.setattr(sys, "argv", ["preprocess", *map(str, arguments)])
    preprocess.main()
    capsys.readouterr()
    _, shown = show(capsys, monkeypatch, tmp_path / "set")
    assert "4 numbers; by digits: 2 of 1, 1 of 2, 1 of 6" in shown


def test_twenty_positions_fit_80_columns(raw, capsys, monkeypatch):
    _, shown = show(capsys, monkeypatch, raw, "--max-digits", 20)
    tables = shown[shown.index("┏") : shown.index("sizes")]
    assert max(map(len, tables.splitlines())) <= 80
    assert [start in tables for start in ("position 1 ", "position 8 ", "position 15 ")] == [
        True
    ] * 3
    assert " 20 ┃" in tables


def test_a_prepared_set_shows_the_same_and_its_sheet_draws_the_number(
    raw, tmp_path, capsys, monkeypatch
):
    arguments = ["--raw", raw, "--to", tmp_path / "set", "--validation-fraction", 0]
    monkeypatch.setattr(sys, "argv", ["preprocess", *map(str, arguments)])
    preprocess.main()
    capsys.readouterr()
    _, shown = show(
        capsys, monkeypatch, tmp_path / "set", "--sheet", tmp_path / "sheet.png", "--photos", 2
    )
    assert "4 numbers; by digits: 2 of 1, 1 of 2, 1 of more" in shown
    assert "suspicious: 1 x more than 5 digits: train/2.png" in shown
    assert (
        "train.tar.gz (train)\n  skipped: 1 x no box: its bbox has no field label: 6.png" in shown
    )
    assert "2 photos with their boxes" in shown
    with Image.open(tmp_path / "sheet.png") as sheet:
        drawn = (np.asarray(sheet)[:144, :144] == (255, 210, 0)).all(axis=-1)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    # a tile of 140 pixels; the number fills 1 / 1.3 of it, in the middle: from 16 to 124
    assert [rows[0], rows[-1], columns[0], columns[-1]] == pytest.approx([13, 127, 17, 123], abs=1)


def test_the_sheet_marks_what_was_skipped_and_writes_six_digits_as_elsewhere(
    tmp_path, capsys, monkeypatch
):
    numbers = {"1.png": "123456", "2.png": "7", "3.png": "8", "4.png": "9"}
    boxes = {
        name: [[4.0 + i, 6, 6, 12] for i in range(len(number))] for name, number in numbers.items()
    }
    boxes["2.png"] = [[100.0, 6, 6, 12]]
    records = [(name, fields(number, boxes[name])) for name, number in numbers.items()]
    files = {name: png() for name in numbers} | {
        "3.png": b"junk",
        MAT: mat_bytes(tmp_path, records),
    }
    write_split(tmp_path / "raw", "train", files)
    drawn, tile = {}, inspect.pictures.tile

    def noting(image, boxes, *, skipped=""):
        drawn[len(drawn) + 1] = skipped
        return tile(image, boxes, skipped=skipped)

    monkeypatch.setattr(inspect.pictures, "tile", noting)
    monkeypatch.setattr(
        inspect.pictures, "tile_sheet", lambda tiles: drawn.update(tiles=tiles) or tiles[0][0]
    )
    show(capsys, monkeypatch, tmp_path / "raw", "--sheet", tmp_path / "sheet.png")
    assert [(number, name) for _, number, name in drawn["tiles"]] == [
        ("12345+", "train/1.png"), ("7", "train/2.png"), ("8", "train/3.png"), ("9", "train/4.png")
    ]  # fmt: skip
    assert [drawn[n] for n in range(1, 5)] == [
        "", "its boxes lie outside the photo", "not a readable image; convert it to PNG or JPEG", ""
    ]  # fmt: skip


def test_augmented_crops_are_drawn_as_the_network_sees_them(tmp_path, capsys, monkeypatch):
    tiny.prepare(tmp_path / "set", 3)
    tiny.write_config(tmp_path, tiny.CONFIG)
    arguments = (
        "--augmented",
        tmp_path / "tiny.py",
        "--sheet",
        tmp_path / "sheet.png",
        "--photos",
        2,
    )
    _, shown = show(capsys, monkeypatch, tmp_path / "set", *arguments)
    assert "sheet.png: photos of the train split as" in shown
    with Image.open(tmp_path / "sheet.png") as sheet:
        tiles = (
            np.asarray(sheet)
            .reshape(2, pictures.TILE + pictures.CAPTION, 8, pictures.TILE, 3)
            .swapaxes(1, 2)
        )
    for row in tiles:
        assert (
            len({tile[: pictures.TILE - 2].tobytes() for tile in row}) == 8
        )  # the middle window, and seven draws
    with pytest.raises(InputError, match="--augmented needs --sheet"):
        inspect.Options(tmp_path, augmented=tmp_path / "tiny.py")


def test_inputs_are_drawn_from_their_darkest_to_their_brightest_value():
    inputs = np.array([-2.0, 0, 0, 2], np.float32).reshape(1, 2, 2, 1)
    drawn = pictures.input_pictures(inputs)
    assert (drawn.shape, drawn.dtype) == ((1, 2, 2, 3), np.uint8)
    assert drawn[0, :, :, 2].tolist() == [[0, 127], [127, 255]]


def test_verify_finds_changed_bytes_and_repeated_crops(tmp_path, capsys, monkeypatch):
    write_split(tmp_path / "raw", "test", split_files(tmp_path, ["5", "17", "5"]))
    monkeypatch.setattr(
        sys, "argv", ["preprocess", "--raw", str(tmp_path / "raw"), "--to", str(tmp_path / "set")]
    )
    preprocess.main()
    capsys.readouterr()
    status, shown = show(capsys, monkeypatch, tmp_path / "set", "--verify")
    assert status == 0
    assert "the same crop twice: test/1.png in test (5), test/3.png in test (5)" in shown
    assert "5 arrays match their checksums; 1 duplicate crops" in shown
    labels = tmp_path / "set" / "test" / "labels.npy"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\7")
    status, shown = show(capsys, monkeypatch, tmp_path / "set", "--verify")
    assert status == 1
    assert "DAMAGED" not in shown
    for options in ((), ("--quiet",)):
        monkeypatch.setattr(sys, "argv", ["inspect", str(tmp_path / "set"), "--verify", *options])
        assert inspect.main() == 1
        printed = capsys.readouterr().err
        assert f"DAMAGED: {labels}\n" in printed
        assert "1 of 5 arrays are damaged; delete" in printed
    output.console(Output())


def test_digits_are_counted_by_position():
    targets = np.array([[2, 1, 7, 10, 10, 10], [1, 7, 10, 10, 10, 10]], np.int32)
    counts = statistics.positions(targets)
    assert counts.shape == (5, 11)
    assert (counts[0, 1], counts[0, 7], counts[1, 7], counts[1, 10], counts[4, 10]) == (
        1,
        1,
        1,
        1,
        2,
    )
    assert statistics.lengths(targets).tolist() == [0, 1, 1, 0, 0, 0, 0]


def test_sizes_are_told_by_their_quantiles():
    sizes = np.array([[100, 50]] * 99 + [[300, 50]])
    boxes = np.array([[1.0, 2, 20, 40]] * 100)
    told = statistics.quantiles(boxes, sizes)
    assert told["photo width, pixels"][2] == 100
    assert told["photo width, pixels"][4] == 300
    assert told["number width / height"] == [0.5] * 5
    assert told["number height / photo height"] == [0.8] * 5


def test_shapes_that_few_published_numbers_have_are_suspicious():
    targets = np.array(
        [[1, 1, 10, 10, 10, 10], [1, 1, 10, 10, 10, 10], [4, 1, 1, 1, 1, 10]], np.int32
    )
    boxes = np.array([[5.0, 5, 10, 20], [5, 5, 30, 20], [5, 5, 10, 20]])
    found = statistics.suspicious(targets, boxes, np.array([[60, 40]] * 3))
    assert {reason: rows.tolist() for reason, rows in found.items()} == {
        "very wide for so few digits": [1],
        "very narrow for so many digits": [2],
    }
    uneven = Record("1.png", (1, 2), np.array([[0.0, 0, 5, 10], [5, 0, 30, 20]]))
    assert sorted(statistics.suspicious_boxes([uneven])) == [
        "one digit much higher than another",
        "one digit much wider than another",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        ([__file__], "not a folder"),
        (["."], "none of train, test, extra in it"),
        ([".", "--verify"], "only those have checksums"),
        ([".", "--augmented", "a.py", "--sheet", "a.png"], "only those can be shown --augmented"),
    ],
)
def test_a_folder_of_nothing_is_one_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    finished = run_python("-m", "svhn_jax.inspect", *arguments)
    assert_one_error_line(finished)
    assert words in finished.stderr


@pytest.mark.parametrize(("option", "value"), [("photos", 0), ("sheet", "a.jpg")])
def test_a_bad_option_is_named(tmp_path, option, value):
    with pytest.raises(InputError, match=f"--{option} is {value}"):
        inspect.Options(
            tmp_path, **{option: tmp_path.__class__(value) if option == "sheet" else value}
        )


def test_tables_of_the_largest_published_split_fit_80_columns(capsys):
    targets = np.tile(np.array([[5, 1, 2, 3, 4, 5]], np.int32), (202_353, 1))
    boxes, sizes = np.ones((202_353, 4)), np.full((202_353, 2), 1_083)
    contents = inspect.Contents("extra", ["a"], targets, boxes, sizes, [], {}, [])
    inspect._print(Console(width=80), contents)
    shown = capsys.readouterr().out
    assert shown.count("202,353") == 2 + 5
    assert "…" not in shown
