"""Photos of one's own: labels.csv is read, its bad rows are listed all at once, and the arrays come out."""

import io
import json
import sys

import numpy as np
import pytest
from archives import assert_one_error_line, color_of, png, run_python
from PIL import Image

from svhn_jax import labels, preprocess
from svhn_jax.data import arrays, labels_csv
from svhn_jax.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine" / "street").mkdir(parents=True)
    for name, number in (
        ("door 1.jpg", "1024"),
        ("gate.png", "7"),
        ("street/Haus 12a.PNG", "12"),
        ("long.png", "123456"),
    ):
        stream = io.BytesIO()
        Image.new("RGB", (60, 40), color_of(number)).save(stream, "PNG" if name.lower().endswith("png") else "JPEG")
        (tmp_path / "mine" / name).write_bytes(stream.getvalue())
    return tmp_path / "mine"


def write(folder, *lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


HEADER = "file,label,left,top,width,height"


def test_rows_become_records_with_a_box_or_none(folder):
    path = write(
        folder, HEADER, "door 1.jpg,1024,10,5.5,30,20", "", "street/Haus 12a.PNG,12,,,,", '"gate.png", 07 ,,,,'
    )
    first, second, third = labels_csv.read(path)
    assert (first.name, first.digits, first.boxes.tolist()) == ("door 1.jpg", (1, 0, 2, 4), [[10, 5.5, 30, 20]])
    assert (second.name, second.digits, second.boxes.shape) == ("street/Haus 12a.PNG", (1, 2), (0, 4))
    assert (third.name, third.digits) == ("gate.png", (0, 7))


def test_a_byte_order_mark_and_two_columns_are_fine(folder):
    (folder / "labels.csv").write_bytes("File,Label\r\ngate.png,7\r\n".encode("utf-8-sig"))
    assert [(record.name, record.digits) for record in labels_csv.read(folder / "labels.csv")] == [("gate.png", (7,))]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_semicolons_and_tabs_separate_too(folder, delimiter):
    path = write(folder, HEADER.replace(",", delimiter), "door 1.jpg,1024,10,5.5,30,20".replace(",", delimiter))
    assert labels_csv.read(path)[0].boxes.tolist() == [[10, 5.5, 30, 20]]


def test_photos_without_a_row_are_named(folder, tmp_path, monkeypatch):
    write(folder, "file,label", "gate.png,7")
    monkeypatch.setattr(sys, "argv", ["preprocess", "--raw", str(folder), "--to", str(tmp_path / "set")])
    preprocess.main()
    skipped = json.loads((tmp_path / "set" / "manifest.json").read_text())["sources"]["train"]["skipped"]
    assert [entry["name"] for entry in skipped] == ["door 1.jpg", "long.png", "street/Haus 12a.PNG"]
    assert {entry["reason"] for entry in skipped} == {"no row in labels.csv"}


def test_every_bad_row_is_listed_with_its_line_number(folder):
    path = write(
        folder,
        HEADER,
        "gate.png,7,,,,",
        "gone.png,7,,,,",
        "../labels.csv,7,,,,",
        "/etc/hostname.png,7,,,,",
        "labels.csv,7,,,,",
        "door 1.jpg,12a,,,,",
        "door 1.jpg,,,,,",
        "door 1.jpg,5,1,2,3",
        "door 1.jpg,5,1,2,3,",
        "door 1.jpg,5,1,2,0,9",
        "door 1.jpg,5,1,nan,5,9",
        "gate.png,7,,,,",
        "long.png,5,1,2,30,9",
        "long.png,5,1,2,30,1e-9",
    )
    with pytest.raises(InputError, match=rf"^{path}: 12 of its rows cannot be used; mend them$") as caught:
        labels_csv.read(path)
    assert caught.value.details == (
        "line 3: no file 'gone.png' in the folder",
        "line 4: '../labels.csv' is no name of a file in the folder",
        "line 5: '/etc/hostname.png' is no name of a file in the folder",
        "line 6: 'labels.csv' does not end in .png, .jpg or .jpeg",
        "line 7: label '12a' is no number; write its digits",
        "line 8: label '' is no number; write its digits",
        "line 9: 5 values; the first line has 6",
        "line 10: height is ''; give all four of the box in pixels, or none",
        "line 11: the box has no width or height",
        "line 12: top is 'nan', out of any photo",
        "line 13: gate.png is named twice",
        "line 15: the box has no width or height",
    )


def test_a_table_of_nothing_but_bad_rows_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(labels_csv, "MAX_PROBLEMS", 3)
    path = write(folder, "file,label", *["gone.png,7"] * 5)
    with pytest.raises(InputError, match="at least 3 of its rows cannot be used") as caught:
        labels_csv.read(path)
    assert [line.split(":")[0] for line in caught.value.details] == ["line 2", "line 3", "line 4"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1 is ''; it must be file,label,left,top,width,height or file,label"),
        (b"name,number\n", "line 1 is 'name,number'"),
        (b"file,label\n", "no rows below its first line"),
        (b"file,label\ngate\xff.png,7\n", "byte 16 is not UTF-8"),
        (b'file,label\n"gate.png,7\n', "1 of its rows"),
        (b"file,label\n" + b"x" * 200_000 + b",7\n", "1 of its rows"),
        (b"file,label\n\x00,7\n", "1 of its rows"),
    ],
)
def test_a_table_of_another_kind_is_one_line(folder, content, words):
    (folder / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        labels_csv.read(folder / "labels.csv")


def test_own_photos_become_the_same_arrays_and_manifest(folder, tmp_path, monkeypatch):
    write(folder, HEADER, "door 1.jpg,1024,10,10,20,20", "gate.png,7,,,,", "long.png,123456,,,,")
    arguments = ["--raw", folder, "--to", tmp_path / "set", "--validation-fraction", 0, "--size", 16]
    monkeypatch.setattr(sys, "argv", ["preprocess", *map(str, arguments)])
    preprocess.main()
    images, targets, names, *_ = arrays.load_split(tmp_path / "set", "train")
    assert [labels.decode(label) for label in targets] == ["1024", "7", "12345+"]
    assert names.tolist() == [b"train/door 1.jpg", b"train/gate.png", b"train/long.png"]
    np.testing.assert_allclose(images[:, 8, 8], [color_of(number) for number in ("1024", "7", "123456")], atol=3)
    boxes, sizes = arrays.load_geometry(tmp_path / "set", "train")
    assert boxes.tolist() == [[10, 10, 20, 20], [0, 0, 60, 40], [0, 0, 60, 40]]
    assert sizes.tolist() == [[60, 40]] * 3
    assert json.loads((tmp_path / "set" / "manifest.json").read_text())["sources"]["train"]["kept"] == 3


def test_train_and_test_may_each_have_a_table(folder, tmp_path, monkeypatch):
    for split in ("train", "test"):
        (tmp_path / "raw" / split).mkdir(parents=True)
        (tmp_path / "raw" / split / "1.png").write_bytes(png())
        write(tmp_path / "raw" / split, "file,label", "1.png,5" if split == "train" else "1.png,6")
    monkeypatch.setattr(sys, "argv", ["preprocess", "--raw", str(tmp_path / "raw"), "--to", str(tmp_path / "set")])
    preprocess.main()
    assert arrays.load_split(tmp_path / "set", "train").labels[0, 1] == 5
    assert arrays.load_split(tmp_path / "set", "test").labels[0, 1] == 6


def test_a_photo_lying_on_its_side_is_stood_up(tmp_path, monkeypatch):
    photo = Image.new("RGB", (32, 16), (200, 0, 0))
    photo.paste((0, 0, 200), (16, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on end: turn clockwise to see it upright
    (tmp_path / "mine").mkdir()
    photo.save(tmp_path / "mine" / "a.jpg", exif=exif, quality=95)
    write(tmp_path / "mine", "file,label", "a.jpg,5")
    arguments = ["--raw", tmp_path / "mine", "--to", tmp_path / "set", "--validation-fraction", 0]
    monkeypatch.setattr(sys, "argv", ["preprocess", *map(str, arguments)])
    preprocess.main()
    image = arrays.load_split(tmp_path / "set", "train").images[0]
    assert image[8, 32, 0] > 150 > 50 > image[8, 32, 2]  # red above
    assert image[56, 32, 2] > 150 > 50 > image[56, 32, 0]  # blue below
    assert arrays.load_geometry(tmp_path / "set", "train")[1].tolist() == [[16, 32]]


def test_the_list_of_bad_rows_reaches_the_user(folder, tmp_path):
    write(folder, "file,label", "gone.png,5", "gate.png,x")
    finished = run_python("-m", "svhn_jax.preprocess", "--raw", folder, "--to", tmp_path / "set")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[0] == f"error: {folder / 'labels.csv'}: 2 of its rows cannot be used; mend them"
    assert finished.stderr.splitlines()[1:] == [
        "line 2: no file 'gone.png' in the folder",
        "line 3: label 'x' is no number; write its digits",
    ]
    (folder / "labels.csv").write_text("file,label\n")
    assert_one_error_line(run_python("-m", "svhn_jax.preprocess", "--raw", folder, "--to", tmp_path / "set"))
