"""Readings as JSON, CSV and lines of a table."""

import csv
import os

from svhn_jax.data.crop import Box
from svhn_jax.inference import reading
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
    long = Row("a/very/long/path/" * 5 + "the end.png", full, True).line()
    assert len(long) == 80
    assert long.startswith("…")
    assert long.split()[-8:] == ["12345+", "100.0%", *["100"] * 5, "check"]
    assert Row("a\nb.png", NONE, False).line().split() == ["a?b.png", "nothing", "0.0%"]
