"""The command that reads photos: what it prints and writes, what it refuses, and that a bad photo costs one line."""

import csv
import json
import shutil
import subprocess
import sys
import weakref

import numpy as np
import pytest
from PIL import Image
from tiny import save_run

import svhn_jax
from svhn_jax import files, interrupts, predict
from svhn_jax.data import photos as photo_files
from svhn_jax.data.crop import union
from svhn_jax.data.synthetic import render
from svhn_jax.errors import InputError
from svhn_jax.inference import finder
from svhn_jax.inference.photo_reader import PhotoReader
from svhn_jax.inference.reading import Reading
from svhn_jax.inference.reading_pictures import Drawer
from svhn_jax.inference.reading_tables import Row

BOX = (30.0, 10.5, 40.0, 22.0)


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
        Image.fromarray(small).resize((90, 50), Image.Resampling.BICUBIC).save(
            tmp_path / f"street/{seed}.png"
        )
    return tmp_path / "street"


@pytest.fixture
def command(run, monkeypatch, capsys):
    """Runs the command in this process; returns its status, and the lines of stdout and stderr."""
    monkeypatch.setattr(interrupts, "raise_interrupts", lambda: None)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments), "--run", run])
        status = predict.main()
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return call


def test_table_csv_and_json_have_the_readings_of_the_python_reader(street, command, reader):
    readings = [reader.read(street / f"{seed}.png", "whole") for seed in range(5)]
    least = sorted(reading.confidence for reading in readings)[2]
    asked = ["street", "--whole", "--csv", "readings.csv", "--min-confidence", least]
    status, lines, errors = command(*asked, "--json")
    assert (status, errors) == (0, [])
    objects = [json.loads(line) for line in lines]
    with open("readings.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for seed, (reading, values, row) in enumerate(zip(readings, objects, rows, strict=True)):
        assert values["file"] == row["file"] == f"street/{seed}.png"
        assert (values["reading"], values["confidence"]) == (reading.number, reading.confidence)
        assert (row["reading"], row["confidence"]) == (reading.number, f"{reading.confidence:.6f}")
        assert values["digits"] == list(reading.digits)
        assert [row[f"digit_{n}_p"] for n in range(1, 6) if row[f"digit_{n}_p"]] == [
            f"{p:.6f}" for p in reading.digits
        ]
        assert values["check"] is (row["check"] == "check") is (reading.confidence < least)
    status, lines, errors = command(*asked)
    assert (status, errors) == (0, [])
    assert lines[0].split()[0] == "file"
    for seed, (line, reading) in enumerate(zip(lines[2:7], readings, strict=True)):
        assert line.split()[:3] == [
            f"street/{seed}.png",
            reading.shown,
            f"{reading.confidence:.1%}",
        ]
        assert line.rstrip().endswith("check") is (reading.confidence < least)
    assert lines[7:] == [
        f"5 photos read, 2 of them to check: confidence below {least:g}",
        "readings.csv: a row for each",
    ]
    assert max(map(len, lines[:7])) <= 80
    assert command(*asked, "--quiet") == (0, [], [])


def test_a_bad_photo_costs_one_line_and_the_others_are_read(street, command):
    whole = (street / "2.png").read_bytes()
    (street / "1.png").write_bytes(whole[: len(whole) // 2])
    (street / "2.png").write_bytes(b"")
    (street / "3.png").write_bytes(b"<svg/>")
    status, lines, errors = command("street", "street/none.png", "nowhere/*.png", "--json")
    assert status == 1
    assert [json.loads(line)["file"] for line in lines] == ["street/0.png", "street/4.png"]
    assert [line.partition(" (")[0] for line in errors] == [
        "error: street/1.png: damaged image",
        "error: street/2.png: an empty file; copy it again",
        "error: street/3.png: not a readable image; convert it to PNG or JPEG",
        "error: street/none.png: no such file or directory",
        "error: nowhere/*.png: no file matches this pattern",
    ]
    status, lines, _ = command("street")
    assert (status, lines[-1]) == (1, "2 of 5 photos read")


def test_where_nothing_is_read_nothing_is_said_to_be_written(street, command):
    (street.parent / "empty").mkdir()
    status, lines, [error] = command("empty", "--draw", "drawn", "--csv", "e.csv")
    assert (status, lines) == (1, ["0 photos read", "e.csv: no rows"])
    assert error.startswith("error: empty: no photo in this folder")
    status, lines, _ = command("street/none.png", "--draw", "drawn")
    assert (status, lines) == (1, ["0 of 1 photo read"])
    status, lines, _ = command("street/0.png", "empty")
    assert (status, lines[-1]) == (1, "1 photo read")


def test_csv_replaces_a_table_of_readings_and_no_other_file(street, command):
    kept = "file,label\n0.png,102\n"
    (street / "labels.csv").write_text(kept)
    with pytest.raises(
        InputError,
        match=r"--csv is street/labels\.csv, which exists, and is no table of readings; give",
    ):
        command("street", "--whole", "--csv", "street/labels.csv")
    assert (street / "labels.csv").read_text() == kept
    (street.parent / "a.csv").touch()  # as mktemp does
    for photos in ("street", "street/0.png"):
        assert command(photos, "--whole", "--csv", "a.csv")[0] == 0
    assert len((street.parent / "a.csv").read_text().splitlines()) == 2


def test_a_full_disk_is_told_with_the_name_of_what_was_asked_for(street, command, monkeypatch):
    def full_disk(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "sync", full_disk)
    for option, name, named in (("--csv", "a.csv", "a.csv"), ("--draw", "drawn", "drawn/0.png")):
        with pytest.raises(OSError, match="No space") as caught:
            command("street/0.png", "--whole", option, name)
        assert caught.value.filename == named
    assert [path.name for path in street.parent.rglob("*") if path.suffix != ".png"] == [
        "street",
        "drawn",
    ]
    assert list((street.parent / "drawn").iterdir()) == []


def test_where_all_boxes_are_known_no_finder_is_needed(street, command, monkeypatch):
    def missing():
        raise InputError("no weights of a finder")

    monkeypatch.setattr(finder, "Finder", missing)
    (street / "boxes.csv").write_text(
        "file,left,top,width,height\n0.png,30,10.5,40,22\n1.png,,,,\n"
    )
    assert command("street", "--whole")[0] == 0
    assert command("street/0.png", "--box", "30,10.5,40,22")[0] == 0
    assert command("street/0.png", "street/1.png", "--boxes", "street/boxes.csv")[0] == 0
    with pytest.raises(InputError, match="no weights of a finder"):
        command("street", "--boxes", "street/boxes.csv")


def test_boxes_are_given_for_one_photo_for_many_or_for_none(street, command, reader):
    def read(*arguments):
        return [json.loads(line) for line in command(*arguments, "--json")[1]]

    [values] = read("street/0.png", "--box", "30,10.5,40,22")
    assert values["box"] == {"left": 30, "top": 10.5, "width": 40, "height": 22}
    assert values["confidence"] == reader.read(street / "0.png", BOX).confidence
    (street / "boxes.csv").write_text(
        "file,left,top,width,height\n0.png,30,10.5,40,22\n1.png,,,,\n"
    )
    first, second, *_ = read("street", "--boxes", "street/boxes.csv")
    assert (first, second["box"]) == (values, None)
    assert second["confidence"] == reader.read(street / "1.png", "whole").confidence
    assert [one["box"] for one in read("street", "--whole")] == [None] * 5
    status, lines, errors = command("street/0.png", "--box=-99,-99,9,9", "--json")
    assert (status, lines) == (1, [])
    assert errors == ["error: street/0.png: its boxes lie outside the photo of 90 x 50 pixels"]


def test_pictures_are_drawn_into_a_new_folder(street, command):
    before = {path.name: path.read_bytes() for path in street.iterdir()}
    status, lines, _ = command("street", "street/0.png", "--draw", "drawn")
    assert (status, lines[-1]) == (0, "drawn: a picture of each")
    assert sorted(path.name for path in (street.parent / "drawn").iterdir()) == [
        *("0-2.png", "0.png", "1.png", "2.png", "3.png", "4.png"),
    ]
    with Image.open(street.parent / "drawn/0.png") as picture:
        assert picture.size == (640, 356 + 56)
    assert {path.name: path.read_bytes() for path in street.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["street", "--draw", "street"],
            "--draw is street, the photos' own folder; give a new folder",
        ),
        (["street/0.png", "--draw", "street/"], "the photos' own folder"),
        (["link", "--draw", "street"], "the photos' own folder"),
        (["street", "--draw", "other"], "--draw is other, which is no empty folder"),
        (["street", "--draw", "other/kept.csv"], "which is no empty folder"),
        (
            ["street", "--csv", "street/0.png"],
            "--csv is street/0.png; it must be the name of a .csv file",
        ),
        (
            ["street", "--csv", "nowhere/a.csv"],
            "it must be the name of a .csv file, in a folder that exists",
        ),
        (
            ["other/kept.csv", "--csv", "other/kept.csv"],
            "--csv is other/kept.csv, which is read; give another name",
        ),
        (
            ["street", "--boxes", "other/kept.csv", "--csv", "link.csv"],
            "--csv is link.csv, which is read",
        ),
        ([], "no photos given; name files, a folder, a pattern, or - for standard input"),
        (
            ["street", "--box", "1,2,3,4"],
            "--box is the box of one photo, and there are 5; give --boxes, a CSV file",
        ),
        (["street/0.png", "--box", "1,2,3"], "--box is 1,2,3: it must be LEFT,TOP,WIDTH,HEIGHT"),
        (["street/0.png", "--box", "1,2,,4"], "--box is 1,2,,4: it must be"),
        (["street/0.png", "--box", "1,2,0,4"], "--box is 1,2,0,4: the box has no width or height"),
        (
            ["street/0.png", "--box", "1,2,3,nan"],
            "--box is 1,2,3,nan: height is nan, outside any photo",
        ),
        (
            ["street", "--box", "1,2,3,4", "--whole"],
            "--box, --boxes and --whole exclude each other",
        ),
        (["street", "--min-confidence", "1.5"], "--min-confidence is 1.5; it must be 0 to 1"),
        (["street", "--boxes", "none.csv"], "none.csv: no such file"),
        (["street", "--step", "all"], "--step is all; give one step"),
        (["street", "--step", "8"], "--step is '8'; it must be latest, best or one of 7"),
    ],
)
def test_what_would_overwrite_files_or_makes_no_sense_is_refused(street, command, options, words):
    (street.parent / "other").mkdir()
    (street.parent / "other/kept.csv").write_text("file,left,top,width,height\n0.png,1,2,3,4\n")
    (street.parent / "link").symlink_to("street")
    (street.parent / "link.csv").symlink_to("other/kept.csv")
    with pytest.raises(InputError) as error:
        command(*options)
    assert words in str(error.value)
    assert (street.parent / "other/kept.csv").read_text().startswith("file,left")
    assert sorted(path.name for path in street.parent.iterdir()) == [
        "link",
        "link.csv",
        "other",
        "street",
    ]


@pytest.mark.parametrize(("is_drawn", "most"), [(False, 2), (True, 4)])
def test_few_photos_are_in_memory_at_a_time(street, reader, monkeypatch, is_drawn, most):
    living: list[weakref.ref] = []
    counts = []
    decode = photo_files.decode_photo

    def counted(content):
        image = decode(content)
        living.append(weakref.ref(image))
        counts.append(sum(one() is not None for one in living))
        return image

    monkeypatch.setattr(photo_files, "decode_photo", counted)
    monkeypatch.setattr(predict, "HELD_PIXELS", 3 * 90 * 50)
    photos = predict.named.find(["street"] * 10)
    chunks = []
    for chunk in predict._chunks(
        reader, photos, [None] * 50, lambda count: None, is_drawn=is_drawn
    ):
        chunks.append(len(chunk))
        del chunk
    assert chunks == ([3] * 16 + [2] if is_drawn else [4] * 12 + [2])
    assert max(counts) <= most


def test_as_a_user_runs_it(street, run, one_device_env):
    (street / "a\nb.png").write_bytes(b"no photo")
    content = (street / "0.png").read_bytes()
    arguments = ["-", "street/0.png", "street/a\nb.png", "--run", run, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "svhn_jax.predict", *arguments],
        input=content,
        env=one_device_env,
        capture_output=True,
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first.pop("file"), second.pop("file")) == ("-", "street/0.png")
    assert first == second
    assert done.returncode == 1
    assert (
        done.stderr.decode()
        == "error: street/a?b.png: not a readable image; convert it to PNG or JPEG\n"
    )


@pytest.mark.parametrize(
    ("redirected", "status", "words"),
    [
        ("- <&-", 1, "error: -: an empty file"),
        ("street/0.png >&-", 0, ""),
        ("street/日本語.png", 0, "\\u65e5"),  # a letter that ASCII lacks is escaped
    ],
)
def test_closed_streams_and_poor_terminals_are_no_traceback(
    street, run, one_device_env, redirected, status, words
):
    shutil.copy(street / "0.png", street / "日本語.png")
    command = f"{sys.executable} -m svhn_jax.predict {redirected} --whole --run {run}"
    environment = one_device_env | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert words in done.stdout + done.stderr


def test_a_folder_gives_its_photos_without_hidden_files_and_folders(street, command):
    (street / "._0.png").write_bytes(b"of a Mac")
    (street / "more.png").mkdir()
    status, lines, errors = command("street", "--whole", "--json")
    assert (status, len(lines), errors) == (0, 5, [])


def test_a_picture_that_is_there_is_not_replaced(street, tmp_path):
    (tmp_path / "drawn").mkdir()
    drawer = Drawer(tmp_path / "drawn")
    (tmp_path / "drawn/a.png").write_bytes(b"of another command")
    row = Row("a.jpg", Reading("1", 0.9, (0.9,), 1.0, None, None), None)
    assert drawer.draw(Image.new("RGB", (40, 30)), row).name == "a-2.png"
    assert (tmp_path / "drawn/a.png").read_bytes() == b"of another command"


def test_the_shipped_weights_read_synthetic_numbers():
    reader = svhn_jax.load()
    right = 0
    for number in range(1, 21):
        photo, digits, boxes = render.render(render.photo_rng(7, "test", number), "test")
        box = union(boxes.astype(float)).left_top_width_height()
        right += reader.read(photo, box).number == "".join(map(str, digits))
    assert right >= 17
