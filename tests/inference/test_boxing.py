"""Boxes of known numbers, found by a stand-in for a network that knows where a bright patch is."""

import csv

import numpy as np
import pytest
from PIL import Image

from svhn_jax import box, cli
from svhn_jax.data.crop import Box, CropRule, crop_number
from svhn_jax.finding.boxes import iou
from svhn_jax.inference import boxing

PATCH = Box(70, 20, 118, 52)


class PatchReader:
    """Gives a number the greater probability, the more a crop looks like one of the patch's box."""

    crop = CropRule(32, 0.3)
    max_digits = 5

    def __init__(self, *_, **__):
        self.wanted = crop_number(photo_of(PATCH), PATCH, margin=0.3, size=32).astype(float)

    def log_p(self, images, truths):
        assert (truths == truths[0]).all()
        return -np.abs(images - self.wanted).mean(axis=(1, 2, 3)) / 10


def photo_of(patch, size=(160, 90)):
    pixels = np.full((size[1], size[0], 3), 60, np.uint8)
    pixels[int(patch.top) : int(patch.bottom), int(patch.left) : int(patch.right)] = (250, 200, 90)
    return Image.fromarray(pixels)


def overlap(a, b):
    return iou(np.array([a], float), np.array([b], float))[0, 0]


@pytest.mark.parametrize("patch", [PATCH, Box(4, 40, 60, 80), Box(100, 5, 150, 35)])
def test_the_box_is_where_the_number_is_read_best(patch):
    found = boxing.find_box(PatchReader(), photo_of(patch), "123")
    assert overlap(found.box, patch) > 0.75
    assert found.log_p > -2.3
    assert boxing.find_box(PatchReader(), photo_of(patch), "123") == found


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo_of(PATCH).save(folder / "a.png")
    Image.new("RGB", (160, 90)).save(folder / "dark.png")
    return folder


@pytest.fixture
def command(photos, tmp_path, monkeypatch):
    """Runs the command in this process, after writing the table; returns its status."""
    monkeypatch.setattr("svhn_jax.inference.reader.Reader", PatchReader)

    def call(table, *options, to=tmp_path / "new"):
        (photos / "labels.csv").write_text(table)
        arguments = [photos, "--run", "r", "--to", to, *options]
        return cli.call(box.Options, box.main, [*map(str, arguments)])

    return call


def rows_of(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_a_table_with_boxes_is_written_and_what_is_not_found_is_named(
    command, photos, tmp_path, capfd
):
    table = "file,label,left,top,width,height\na.png,123,,,,\ndark.png,7,,,,\n"
    assert command(table, "--min-confidence", "0.1") == 1
    printed = capfd.readouterr()
    assert "boxes of 1 of 2 photos" in printed.out
    assert printed.err.startswith("left out: dark.png: ")
    header, (name, number, *values) = rows_of(tmp_path / "new/labels.csv")
    assert header == ["file", "label", "left", "top", "width", "height"]
    left, top, width, height = map(float, values)
    assert (name, number) == ("a.png", "123")
    assert overlap(Box(left, top, left + width, top + height), PATCH) > 0.75
    assert (tmp_path / "new/a.png").read_bytes() == (photos / "a.png").read_bytes()
    assert not (tmp_path / "new/dark.png").exists()


def test_a_box_that_is_known_stays(command, tmp_path):
    assert command("file,label,left,top,width,height\na.png,123,1,2,30,40\n") == 0
    [row] = rows_of(tmp_path / "new/labels.csv")[1:]
    assert row == ["a.png", "123", "1.00", "2.00", "30.00", "40.00"]


@pytest.mark.parametrize(
    ("table", "to", "named"),
    [
        ("file,label\na.png,12x\n", "new", "line 2: a.png"),
        ("file,label\na.png,12\n", "photos", "photos"),
        ("file,label\na.png,12\n", "photos/boxed", "photos/boxed"),
        ("file,label\ndark.png,7\na.png,123456\n", "new", "a.png: more than 5 digits"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_written(
    command, photos, tmp_path, capfd, table, to, named
):
    assert command(table, to=tmp_path / to) == 1
    assert named in capfd.readouterr().err
    assert sorted(path.name for path in photos.iterdir()) == ["a.png", "dark.png", "labels.csv"]
    assert not (tmp_path / "new").exists()
