"""Boxes of known numbers, by a stand-in for finder and reader."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import svhn_jax
from svhn_jax import box, cli
from svhn_jax.data.crop import Box

PLACES = [Box(70, 20, 118, 52), Box(4, 40, 60, 80)]


class Reader:
    """Finds PLACES in wide photos; the first is a stack of 34, the second reads as 12."""

    max_digits = 5

    def __init__(self, *_):
        self.reader = SimpleNamespace(log_p=self.log_p)

    def prepare(self, path):
        with Image.open(path) as photo:
            found = PLACES if photo.width > 99 else []
        numbers = zip(found, ("34", "99"), strict=False)
        candidates = [
            SimpleNamespace(box=one, number=number, digits=(0.9, 0.8)) for one, number in numbers
        ]
        return [np.zeros(3)] * len(found), candidates

    def log_p(self, crops, labels):
        assert len(crops) == len(labels) == 2
        p = [0.01, 0.9] if labels[1].tolist() == [2, 1, 2, 10, 10, 10] else [0.1, 0.1]
        return np.log(p)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command in this process, after writing the table; returns its status."""
    monkeypatch.setattr(svhn_jax, "load", Reader)
    (tmp_path / "photos").mkdir()
    for name, width in (("a.png", 160), ("b.png", 160), ("c.png", 160), ("small.png", 50)):
        Image.new("RGB", (width, 90)).save(tmp_path / "photos" / name)

    def call(table, to="new"):
        (tmp_path / "photos/labels.csv").write_text(table)
        arguments = [str(tmp_path / "photos"), "--to", str(tmp_path / to)]
        return cli.call(box.Options, box.main, arguments)

    return call


def test_a_table_with_boxes_is_written_and_what_is_not_found_is_named(command, tmp_path, capfd):
    rows = "a.png,12\nb.png,13\nc.png,34\nsmall.png,12\nnone.png,12\n"
    assert command("file,label\n" + rows) == 1
    printed = capfd.readouterr()
    assert "boxes of 2 of 5 photos" in printed.out
    left_out = [line.split(": ")[1] for line in printed.err.splitlines()]
    assert left_out == ["b.png", "small.png", "none.png"]
    header, row, stack = csv.reader((tmp_path / "new/labels.csv").read_text().splitlines())
    assert header == ["file", "label", "left", "top", "width", "height"]
    assert row == ["a.png", "12", "4.00", "40.00", "56.00", "40.00"]
    assert stack == ["c.png", "34", "70.00", "20.00", "48.00", "32.00"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.png", "c.png", "labels.csv"}


def test_a_box_that_is_known_stays_and_a_folder_that_exists_too(command, tmp_path):
    assert command("file,label,left,top,width,height\na.png,123,1,2,30,40\n") == 0
    assert (tmp_path / "new/labels.csv").read_text().endswith("\na.png,123,1.00,2.00,30.00,40.00\n")
    assert command("file,label\na.png,12\n") == 1
    assert command("file,label\nb.png,13\n", to="other") == 1
    assert not (tmp_path / "other").exists()
