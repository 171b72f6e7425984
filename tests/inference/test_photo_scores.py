"""The measure of readers of whole photos, by a reader whose answers are known."""

import pytest
from archives import split_files, write_split
from PIL import Image

from svhn_jax.errors import InputError
from svhn_jax.inference import photo_scores
from svhn_jax.inference.photo_scores import LabelledPhoto

ANSWERS = {10: ("12", 0.99), 20: ("13", 0.96), 30: ("", 0.0), 40: ("7", 0.5)}


def read(photo):
    return ANSWERS[photo.width]


def photo_of(width, number, layout="horizontal"):
    return LabelledPhoto(f"{width}.png", Image.new("RGB", (width, 9)), number, layout)


def test_what_is_counted():
    photos = [photo_of(10, "12"), photo_of(20, "12"), photo_of(30, "345", "vertical")]
    summary = photo_scores.summary(photo_scores.measure(read, [*photos, photo_of(40, "7")]))
    expected = {"photos": 4, "right": 2, "share": 0.5, "none": 1, "sure": 2, "sure_right": 1}
    assert {name: summary[name] for name in expected} == expected
    assert summary["by_length"] == {"1": [1, 1], "2": [1, 2], "3": [0, 1]}
    assert summary["by_layout"] == {"horizontal": [2, 3], "vertical": [0, 1]}
    assert summary["calibration_error"] == pytest.approx((0.475 * 2 + 0 + 0.5) / 4)
    assert summary["coverage_98"] == 0.25
    assert summary["low"] < 0.5 < summary["high"]
    assert summary["ms"] >= 0


def test_false_finds_are_counted():
    pictures = [photo_of(width, "") for width in (10, 30, 40)]
    summary = photo_scores.summary(photo_scores.measure(read, pictures))
    counts = [summary[name] for name in ("photos", "right", "none", "sure", "sure_right")]
    assert counts == [3, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("table", "layouts"),
    [
        ("file,label,layout\na.png,12,vertical\nb.png,7,turned\n", ["vertical", "turned"]),
        ("file,label\na.png,12\nb.png,7\n", ["", ""]),
        ("file,label,left,top,width,height\na.png,12,1,2,3,4\nb.png,7,,,,\n", ["", ""]),
    ],
)
def test_photos_of_a_labelled_folder(tmp_path, table, layouts):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text(table)
    photos = list(photo_scores.photos_of(tmp_path))
    assert [(one.name, one.number) for one in photos] == [("a.png", "12"), ("b.png", "7")]
    assert [one.layout for one in photos] == layouts
    assert [one.number for one in photo_scores.empty_pictures(tmp_path)] == ["", ""]


@pytest.mark.parametrize("row", ["a.png,12x", "none.png,12", "labels.csv,12"])
def test_a_row_that_cannot_be_read_is_named(tmp_path, row):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(f"file,label\n{row}\n")
    with pytest.raises(InputError, match="line 2" if "12x" in row else row.partition(",")[0]):
        list(photo_scores.photos_of(tmp_path))


@pytest.mark.parametrize("photos", [photo_scores.photos_of, photo_scores.empty_pictures])
def test_a_folder_without_photos_is_one_line(tmp_path, photos):
    with pytest.raises(InputError, match=str(tmp_path)):
        list(photos(tmp_path))


def test_photos_of_a_split_need_no_boxes(tmp_path):
    write_split(tmp_path, "test", split_files(tmp_path, ["12", "3", "456", "7890"]))
    photos = list(photo_scores.photos_of(tmp_path, "test"))
    assert [one.name for one in photos] == ["1.png", "2.png", "3.png", "4.png"]
    assert all(one.number.isdigit() for one in photos)
