"""The command that reads photos: what it prints and writes, and what it refuses."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tiny import save_run

import svhn_jax
from svhn_jax import cli, predict
from svhn_jax.data.crop import Box, union
from svhn_jax.data.synthetic import render
from svhn_jax.inference.photo_reader import PhotoReader
from svhn_jax.inference.reading import Reading

BOX = (30.0, 10.5, 40.0, 22.0)
TABLE = "file,left,top,width,height\n0.png,30,10.5,40,22\n1.png,,,,\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return str(save_run(tmp_path_factory.mktemp("predict"))[0].path)


@pytest.fixture(scope="module")
def reader(run):
    return PhotoReader(run)


@pytest.fixture
def street(tmp_path, monkeypatch):
    """The current folder, with street/0.png to street/4.png."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street").mkdir()
    for seed in range(5):
        small = np.random.default_rng(seed).integers(0, 256, (5, 9, 3), np.uint8)
        photo = Image.fromarray(small).resize((90, 50), Image.Resampling.BICUBIC)
        photo.save(tmp_path / f"street/{seed}.png")
    return tmp_path / "street"


@pytest.fixture
def command(run, capfd):
    """Runs the command in this process; returns its status, and the lines of stdout and stderr."""

    def call(*arguments):
        argv = [*map(str, arguments), "--run", run]
        status = cli.call(predict.Options, predict.main, argv)
        printed = capfd.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return call


def test_lines_csv_and_json_have_the_readings_of_the_python_reader(street, command, reader):
    readings = [reader.read(street / f"{seed}.png", "whole") for seed in range(5)]
    least = sorted(reading.confidence for reading in readings)[2]
    asked = ["street", "--whole", "--csv", "readings.csv", "--min-confidence", least]
    status, lines, errors = command(*asked, "--json")
    assert (status, errors) == (0, [])
    with open("readings.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for seed, (reading, line, row) in enumerate(zip(readings, lines, rows, strict=True)):
        values = json.loads(line)
        assert values["file"] == row["file"] == f"street/{seed}.png"
        assert (values["reading"], values["confidence"]) == (reading.number, reading.confidence)
        assert (row["reading"], row["confidence"]) == (reading.number, f"{reading.confidence:.6f}")
        assert values["check"] is (row["check"] == "check") is (reading.confidence < least)
    status, (header, *lines), errors = command(*asked)
    assert (status, errors, header.split()[0]) == (0, [], "file")
    for line, reading in zip(lines[:5], readings, strict=True):
        assert line.split()[1:3] == [reading.number or "nothing", f"{reading.confidence:.1%}"]
        assert line.endswith("check") is (reading.confidence < least)
    assert lines[5] == "5 of 5 photos read, 2 of them to check"
    assert max(map(len, lines[:5])) <= 80
    assert command(*asked, "--quiet") == (0, [], [])


def test_a_bad_photo_costs_one_line_and_the_others_are_read(street, command):
    whole = (street / "2.png").read_bytes()
    (street / "1.png").write_bytes(whole[: len(whole) // 2])
    (street / "2.png").write_bytes(b"")
    (street / "3.png").write_bytes(b"<svg/>")
    status, lines, errors = command("street", "street/none.png", "nowhere/*.png", "--json")
    assert status == 1
    assert [json.loads(line)["file"] for line in lines] == ["street/0.png", "street/4.png"]
    bad = [f"street/{name}.png" for name in (1, 2, 3, "none")]
    assert [line.split(": ")[1] for line in errors] == [*bad, "nowhere/*.png"]
    status, lines, _ = command("street")
    assert (status, lines[-1]) == (1, "2 of 5 photos read")


def test_a_folder_without_photos_is_one_line(street, command):
    (street.parent / "empty").mkdir()
    status, lines, [error] = command("empty", "--csv", "e.csv")
    assert (status, lines[1:]) == (1, ["0 of 1 photos read"])
    assert error.startswith("error: empty: ")


def test_csv_replaces_a_table_of_readings_and_no_other_file(street, command):
    kept = "file,label\n0.png,102\n"
    (street / "labels.csv").write_text(kept)
    status, _, [error] = command("street", "--whole", "--csv", "street/labels.csv")
    assert (status, "street/labels.csv" in error) == (1, True)
    assert (street / "labels.csv").read_text() == kept
    (street.parent / "a.csv").touch()  # as mktemp does
    for photos in ("street", "street/0.png"):
        assert command(photos, "--whole", "--csv", "a.csv")[0] == 0
    assert len((street.parent / "a.csv").read_text().splitlines()) == 2


def test_names_that_are_not_utf8_are_read_and_keep_their_bytes(street, command):
    name = os.fsdecode(b"street/\xff.png")
    shutil.copy(street / "0.png", name)
    assert command(name, "--whole", "--csv", "a.csv")[0] == 0
    assert b"street/\xff.png," in (street.parent / "a.csv").read_bytes()


def test_boxes_are_given_for_one_photo_for_many_or_for_none(street, command, reader):
    def read(*arguments):
        return [json.loads(line) for line in command(*arguments, "--json")[1]]

    [values] = read("street/0.png", "--box", "30,10.5,40,22")
    assert values["box"] == {"left": 30, "top": 10.5, "width": 40, "height": 22}
    assert values["confidence"] == reader.read(street / "0.png", BOX).confidence
    (street / "boxes.csv").write_text(TABLE)
    first, second, *_ = read("street", "--boxes", "street/boxes.csv")
    assert (first, second["box"]) == (values, None)
    assert second["confidence"] == reader.read(street / "1.png", "whole").confidence
    assert [one["box"] for one in read("street", "--whole")] == [None] * 5
    status, _, [error] = command("street/0.png", "--box=-99,-99,9,9", "--json")
    assert (status, error.split(": ")[1]) == (1, "street/0.png")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["street", "--csv", "street/0.png"], "--csv"),
        (["street", "--csv", "nowhere/a.csv"], "--csv"),
        (["other/kept.csv", "--csv", "other/kept.csv"], "--csv"),
        (["street", "--boxes", "other/kept.csv", "--csv", "link.csv"], "--csv"),
        ([], "no photos given"),
        (["street", "--box", "1,2,3,4"], "--box"),
        (["street/0.png", "--box", "1,2,3"], "--box"),
        (["street/0.png", "--box", "1,2,,4"], "--box"),
        (["street/0.png", "--box", "1,2,0,4"], "--box"),
        (["street/0.png", "--box", "1,2,3,nan"], "height is nan"),
        (["street", "--box", "1,2,3,4", "--whole"], "--boxes and --whole"),
        (["street", "--min-confidence", "1.5"], "--min-confidence"),
        (["street", "--boxes", "none.csv"], "none.csv"),
        (["street", "--step", "all"], "--step"),
        (["street", "--step", "8"], "--step"),
    ],
)
def test_what_would_overwrite_files_or_makes_no_sense_is_refused(street, command, options, named):
    (street.parent / "other").mkdir()
    (street.parent / "other/kept.csv").write_text(TABLE)
    (street.parent / "link.csv").symlink_to("other/kept.csv")
    status, _, [error] = command(*options)
    assert (status, named in error) == (1, True)
    assert (street.parent / "other/kept.csv").read_text() == TABLE
    assert sorted(os.listdir(street.parent)) == ["link.csv", "other", "street"]


def test_a_table_has_each_value_of_a_reading():
    box = Box(1.5, -2, 11.5, 18)
    house = Reading("102", 0.5, (0.75, 1.0, 0.875), 0.8, box, 0.25).as_json()
    nothing = Reading("", 0.0, (), 0.0, None, None).as_json()
    name = os.fsdecode(b"\xff\n,.png")
    rows = [{"file": "a.png"} | house | {"check": True}, {"file": name} | nothing | {"check": None}]
    header, first, second = csv.reader(predict._to_csv(rows, 4).splitlines(keepends=True))
    digits = ",".join(f"digit_{n}_p" for n in range(1, 5))
    names = f"file,reading,confidence,length_p,{digits},left,top,width,height,found,check"
    assert ",".join(header) == names
    values = "a.png,102,0.500000,0.800000,0.750000,1.000000,0.875000,,1.5,-2,10,20,0.250000,check"
    assert ",".join(first) == values
    assert second == [name, "", "0.000000", "0.000000", *[""] * 10]


def test_a_line_of_five_digits_fits_in_80_columns():
    full = Reading("12345+", 1.0, (1.0,) * 5, 1.0, None, None).as_json()
    long = predict._line({"file": "a/long/path/" * 5 + "end.png", "check": True} | full)
    assert (len(long), long[0]) == (80, "…")
    assert long.split()[-8:] == ["12345+", "100.0%", *["100"] * 5, "check"]


def test_as_a_user_runs_it(street, run, one_device_env):
    (street / "a\nb.png").write_bytes(b"no photo")
    shutil.copy(street / "0.png", street / "日本語.png")
    photos = "- street/0.png street/a*b.png street/日本語.png"
    done = subprocess.run(
        f"{sys.executable} -m svhn_jax.predict {photos} --run {run} --json < street/0.png",
        shell=True,
        env=one_device_env | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    first, second, third = map(json.loads, done.stdout.splitlines())
    names = [one.pop("file") for one in (first, second, third)]
    assert names == ["-", "street/0.png", "street/日本語.png"]
    assert first == second == third
    assert done.returncode == 1
    assert done.stderr.startswith("error: street/a b.png: ")


def test_the_shipped_weights_read_synthetic_numbers():
    reader = svhn_jax.load()
    right = 0
    for number in range(1, 21):
        photo, digits, boxes = render.render(render.photo_rng(7, "test", number), "test")
        box = union(boxes.astype(float)).left_top_width_height()
        right += reader.read(photo, box).number == "".join(map(str, digits))
    assert right >= 17
