"""Readings as JSON, CSV and lines of a table; and the pictures of them."""

import csv
import os

import pytest
from PIL import Image
from rich.cells import cell_len

from svhn_jax.data.crop import Box
from svhn_jax.inference import drawing, reading
from svhn_jax.inference.reading import Reading, Row

HOUSE = Reading("102", 0.5, (0.75, 1.0, 0.875), 0.8, Box(1.5, -2, 11.5, 18), 0.25)
NONE = Reading("", 0.0, (), 0.0, None, 0.0)


def test_a_row_as_json_has_what_the_documentation_names():
    assert Row("a.png", HOUSE, True).as_json() == {
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
    assert [values[name] for name in ("reading", "box", "check", "digits")] == ["", None, None, []]


def test_a_csv_has_a_row_for_each_photo():
    name = os.fsdecode(b"\xff\n,.png")
    text = reading.to_csv([Row("a.png", HOUSE, True), Row(name, NONE, None)], 4)
    header, first, second = csv.reader(text.splitlines(keepends=True))
    digits = ",".join(f"digit_{n}_p" for n in range(1, 5))
    names = f"file,reading,confidence,length_p,{digits},left,top,width,height,found,check"
    assert ",".join(header) == names
    values = "a.png,102,0.500000,0.800000,0.750000,1.000000,0.875000,,1.5,-2,10,20,0.250000,check"
    assert ",".join(first) == values
    assert second == [name, "", "0.000000", "0.000000", *[""] * 8, "0.000000", ""]


def test_a_line_of_five_digits_fits_in_80_columns():
    full = Reading("12345+", 1.0, (1.0,) * 5, 1.0, None, None)
    long = Row("a/very/long/path/" * 5 + "家/the end.png", full, True).line()
    assert cell_len(long) == 80
    assert long.startswith("…")
    assert long.split()[-8:] == ["12345+", "100.0%", *["100"] * 5, "check"]
    assert Row("a\nb.png", NONE, False).line().split() == ["a?b.png", "nothing", "0.0%"]


@pytest.mark.parametrize(
    ("content", "may"), [("", True), (reading.to_csv([], 7), True), ("file,left\n", False)]
)
def test_a_file_that_is_no_table_of_readings_is_not_replaced(tmp_path, content, may):
    (tmp_path / "a.csv").write_text(content)
    assert reading.is_csv_of_readings(tmp_path / "a.csv") == may


def test_photos_of_one_name_get_pictures_of_their_own(tmp_path):
    folder, photo = tmp_path / "new" / "drawn", Image.new("RGB", (40, 20))
    files = ["a/1.png", "b/1.jpg", "1-2.png", "-", "A/../../x.png", "a\n\x1b.png", ".png", "é" * 99]
    names = [drawing.draw(folder, photo, Row(file, HOUSE, None)).name for file in files]
    assert names == [
        *("1.png", "1-2.png", "1-2-2.png", "stdin.png", "x.png", "a__.png", "png.png"),
        "é" * 50 + ".png",
    ]
