"""Boxes of numbers whose digits are known, found by a stand-in for a network that knows where a bright patch should be."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svhn_jax import box, labels
from svhn_jax.data.crop import Box, CropRule, crop_number
from svhn_jax.errors import InputError
from svhn_jax.inference import boxing

PATCH = Box(70, 20, 118, 52)


class PatchReader:
    """Gives a number the greater probability, the more a crop looks like one that was cropped by the patch's own box."""

    crop = CropRule(32, 0.3)
    max_digits = 5

    def __init__(self, *_):
        self.wanted = crop_number(photo_of(PATCH), PATCH, margin=0.3, size=32).astype(float)
        self.numbers = set()

    def log_p(self, images, truths):
        self.numbers |= {labels.decode(truth) for truth in truths}
        return -np.abs(images - self.wanted).mean(axis=(1, 2, 3)) / 10


def photo_of(patch, size=(160, 90)):
    pixels = np.full((size[1], size[0], 3), 60, np.uint8)
    pixels[int(patch.top) : int(patch.bottom), int(patch.left) : int(patch.right)] = (250, 200, 90)
    return Image.fromarray(pixels)


def overlap(a, b):
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(0, width) * max(0, height)
    return both / (
        (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - both
    )


@pytest.mark.parametrize("patch", [PATCH, Box(4, 40, 60, 80), Box(100, 5, 150, 35)])
def test_the_box_is_where_the_number_is_read_best(patch):
    reader = PatchReader()
    [found] = boxing.find_boxes(reader, [(photo_of(patch), "123")])
    assert overlap(found.box, patch) > 0.75
    assert found.log_p > -2.3
    assert reader.numbers == {"123"}


def test_a_number_of_seven_digits_is_looked_for_where_the_network_reads_so_many():
    reader = PatchReader()
    reader.max_digits = 8
    boxing.find_boxes(reader, [(photo_of(PATCH), "1234567")])
    assert reader.numbers == {"1234567"}


def test_a_photos_box_does_not_depend_on_its_neighbours():
    photos = [(photo_of(Box(10 * n + 5, 20, 10 * n + 45, 50)), "12") for n in range(3)]
    together = list(boxing.find_boxes(PatchReader(), photos))
    assert list(boxing.find_boxes(PatchReader(), photos[1:2])) == together[1:2]


def write(folder: Path, table: str) -> Path:
    folder.mkdir()
    photo_of(PATCH).save(folder / "a.png")
    Image.new("RGB", (160, 90)).save(folder / "dark.png")
    (folder / "labels.csv").write_text(table)
    return folder


def run_box(monkeypatch, *options):
    monkeypatch.setattr("svhn_jax.inference.reader.Reader", PatchReader)
    monkeypatch.setattr("sys.argv", ["box", *map(str, options)])
    return box.main()


def rows_of(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_the_command_writes_a_table_with_boxes_and_names_what_it_did_not_find(
    tmp_path, monkeypatch, capsys
):
    photos = write(
        tmp_path / "photos", "file,label,left,top,width,height\na.png,123,,,,\ndark.png,7,,,,\n"
    )
    assert (
        run_box(
            monkeypatch, photos, "--run", "r", "--to", tmp_path / "new", "--min-confidence", "0.1"
        )
        == 0
    )
    assert "boxes of 1 of 2 photos; not_found.csv names the others" in capsys.readouterr().out
    header, (name, number, *values) = rows_of(tmp_path / "new/labels.csv")
    assert header == ["file", "label", "left", "top", "width", "height"]
    left, top, width, height = map(float, values)
    assert (name, number) == ("a.png", "123")
    assert overlap(Box(left, top, left + width, top + height), PATCH) > 0.75
    assert (tmp_path / "new/a.png").read_bytes() == (photos / "a.png").read_bytes()
    assert [row[:2] for row in rows_of(tmp_path / "new/not_found.csv")[1:]] == [["dark.png", "7"]]
    assert not (tmp_path / "new/dark.png").exists()


def test_a_box_that_is_known_stays(tmp_path, monkeypatch):
    photos = write(tmp_path / "photos", "file,label,left,top,width,height\na.png,123,1,2,30,40\n")
    run_box(monkeypatch, photos, "--run", "r", "--to", tmp_path / "new")
    assert rows_of(tmp_path / "new/labels.csv")[1] == [
        "a.png",
        "123",
        "1.00",
        "2.00",
        "30.00",
        "40.00",
    ]


def test_what_cannot_be_used_is_one_line(tmp_path, monkeypatch):
    photos = write(tmp_path / "photos", "file,label\na.png,12x\n")
    with pytest.raises(InputError, match=r"1 rows cannot be used") as caught:
        run_box(monkeypatch, photos, "--run", "r", "--to", tmp_path / "new")
    assert "line 2: a.png" in caught.value.details[0]
    for to in (photos, tmp_path):  # the user's photos are never replaced
        with pytest.raises(InputError, match="exists already"):
            run_box(monkeypatch, photos, "--run", "r", "--to", to)
    with pytest.raises(InputError, match="lies in the folder of the photos"):
        run_box(monkeypatch, photos, "--run", "r", "--to", photos / "boxed")
    with pytest.raises(InputError, match="not a folder"):
        run_box(monkeypatch, photos / "labels.csv", "--run", "r", "--to", tmp_path / "new")
    (photos / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"labels\.csv: no such file"):
        run_box(monkeypatch, photos, "--run", "r", "--to", tmp_path / "new")
    assert sorted(path.name for path in photos.iterdir()) == ["a.png", "dark.png"]


def test_where_no_number_is_found_nothing_is_written(tmp_path, monkeypatch):
    photos = write(tmp_path / "photos", "file,label\ndark.png,7\na.png,123456\n")
    with pytest.raises(InputError, match="no number was found in 2 photos") as caught:
        run_box(monkeypatch, photos, "--run", "r", "--to", tmp_path / "new")
    assert "more than 5 digits" in caught.value.details[1]
    assert not (tmp_path / "new").exists()
