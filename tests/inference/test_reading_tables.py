"""Readings as JSON, CSV and a table; and the pictures of them."""

import csv
import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from svhn_jax import output
from svhn_jax.data import pictures
from svhn_jax.data.crop import Box
from svhn_jax.inference.reading import Reading
from svhn_jax.inference.reading_pictures import Drawer
from svhn_jax.inference.reading_tables import GrowingTable, Row, csv_file

HOUSE = Reading("102", 0.5, (0.75, 1.0, 0.875), 0.8, Box(1.5, -2, 11.5, 18), 0.25)
NONE = Reading("", 0.0, (), 0.0, None, 0.0)


def test_a_row_as_json_has_what_the_documentation_names():
    assert json.loads(output.json_line(Row("a.png", HOUSE, True).as_json())) == {
        "file": "a.png",
        "reading": "102",
        "confidence": 0.5,
        "digits": [0.75, 1.0, 0.875],
        "length_p": 0.8,
        "box": {"left": 1.5, "top": -2, "width": 10, "height": 20},
        "found": 0.25,
        "check": True,
    }
    values = Row("a.png", NONE, None).as_json()
    assert (values["reading"], values["box"], values["check"], values["digits"]) == (
        "",
        None,
        None,
        [],
    )


def test_a_csv_file_has_a_row_for_each_photo_and_appears_whole(tmp_path):
    path, name = tmp_path / "readings.csv", os.fsdecode(b"\xff\n,.png")
    with csv_file(path, 4) as file:
        file.add(Row("a.png", HOUSE, True))
        file.add(Row(name, NONE, None))
        assert not path.exists()
    header, first, *_ = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    assert header == (
        "file,reading,confidence,length_p,digit_1_p,digit_2_p,digit_3_p,digit_4_p,left,top,width,height,found,check"
    )
    assert (
        first
        == "a.png,102,0.500000,0.800000,0.750000,1.000000,0.875000,,1.5,-2,10,20,0.250000,check"
    )
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
        assert list(csv.reader(stream))[2] == [
            name,
            "",
            "0.000000",
            "0.000000",
            *[""] * 8,
            "0.000000",
            "",
        ]


def test_a_csv_file_that_is_not_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "readings.csv"
    path.write_text("old")
    with pytest.raises(AttributeError), csv_file(path, 4) as file:
        file.add(None)
    assert [one.name for one in tmp_path.iterdir()] == ["readings.csv"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("has_check", [True, False])
@pytest.mark.parametrize("max_digits", [5, 8])
def test_a_table_has_80_columns_and_one_header_however_often_it_grows(has_check, max_digits):
    stream = io.StringIO()
    table = GrowingTable(Console(file=stream, width=80), max_digits, has_check=has_check)
    table.add([])
    full = Reading("12345678"[:max_digits] + "+", 1.0, (1.0,) * max_digits, 1.0, None, None)
    table.add([Row("a/very/long/path/" * 5 + "家/the end.png", full, True)])
    table.add([Row("a\nb.png", NONE, False)])
    header, rule, first, second = stream.getvalue().splitlines()
    assert header.split()[:3] == ["file", "number", "confidence"]
    assert set(rule) == {"─"}
    assert max(cell_len(line.rstrip()) for line in (header, rule, first, second)) <= 80
    assert "/the end.png " in first
    assert first.split()[0].startswith("…")
    assert " ".join(["100"] * max_digits) in first
    assert ("check" in first, "check" in header) == (has_check, has_check)
    assert second.split()[:3] == ["a?b.png", "nothing", "0.0%"]


@pytest.mark.parametrize("has_check", [True, False])
@pytest.mark.parametrize("max_digits", [12, 20])
def test_a_table_of_long_numbers_shows_them_whole_and_leaves_out_the_digits(has_check, max_digits):
    stream, number = io.StringIO(), "12345678901234567890"[:max_digits] + "+"
    table = GrowingTable(Console(file=stream, width=80), max_digits, has_check=has_check)
    table.add(
        [Row("street/door.png", Reading(number, 1.0, (1.0,) * max_digits, 1.0, None, None), True)]
    )
    header, _, line = stream.getvalue().splitlines()
    assert header.split() == ["file", "number", "confidence", *["check"] * has_check]
    assert line.split() == ["street/door.png", number, "100.0%", *["check"] * has_check]
    assert max(map(len, (header.rstrip(), line.rstrip()))) <= 80


def test_a_console_too_narrow_for_the_number_shows_it_on_two_lines():
    stream, number = io.StringIO(), "12345678901234567890+"
    table = GrowingTable(Console(file=stream, width=40), 20, has_check=False)
    table.add([Row("a.png", Reading(number, 1.0, (1.0,) * 20, 1.0, None, None), None)])
    _, _, first, second = stream.getvalue().splitlines()
    assert first.split()[1] + second.strip() == number


def test_photos_of_one_name_get_pictures_of_their_own(tmp_path):
    drawer, photo = Drawer(tmp_path / "new" / "drawn"), Image.new("RGB", (40, 20))
    files = [
        "a/1.png",
        "b/1.jpg",
        "1-2.png",
        "c/1.png",
        "-",
        "A/../../x.png",
        "a\n\x1b.png",
        ".png",
        "é" * 99,
        "C/1.PNG",
    ]
    names = [drawer.draw(photo, Row(file, HOUSE, None)).name for file in files]
    assert names == [
        *("1.png", "1-2.png", "1-2-2.png", "1-3.png", "stdin.png", "x.png", "a__.png", "png.png"),
        *("é" * 50 + ".png", "1-4.png"),
    ]
    assert sorted(path.name for path in (tmp_path / "new" / "drawn").iterdir()) == sorted(names)


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((92, 53), (640, 369 + 56)),
        ((4032, 3024), (1600, 1200 + 140)),
        ((1, 3000), (480, 1600 + 56)),
        ((800, 1), (800, 71)),
    ],
)
def test_a_picture_is_of_a_size_to_be_looked_at(size, drawn):
    picture = pictures.annotated(
        Image.new("RGB", size), None, "102", "", "a.png", color=pictures.RIGHT
    )
    assert picture.size == drawn


def test_a_box_is_drawn_around_the_number_and_the_strip_holds_the_text():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 800, 3), np.uint8))
    box = Box(100, 50, 300.5, 200)
    plain, marked = (
        np.asarray(pictures.annotated(noise, one, "102", "98 %", "a.png", color=pictures.RIGHT))
        for one in (None, box)
    )
    differing = (plain != marked).any(axis=2)
    rows, columns = np.flatnonzero(differing.any(axis=1)), np.flatnonzero(differing.any(axis=0))
    assert not differing[50:200, 100:301].any()
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (44, 205, 94, 306)
    assert (marked[400:] == pictures.RIGHT).all(axis=2).any()
    outside = pictures.annotated(
        noise, Box(-50, -50, 900, 500), "102", "", "", color=pictures.RIGHT
    )
    assert outside.size == (800, 470)
