"""Your own photos: labels.csv is read, its bad rows are listed, and the arrays come out."""

import json
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from archives import color_of, png, upright
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from svhn_jax import cli, labels, preprocess
from svhn_jax.data import arrays
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import find, labels_csv
from svhn_jax.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine" / "street").mkdir(parents=True)
    photos = {
        "door 1.jpg": "1024",
        "gate.png": "7",
        "street/Haus 12a.PNG": "12",
        "long.png": "123456",
    }
    for name, number in photos.items():
        Image.new("RGB", (60, 40), color_of(number)).save(tmp_path / "mine" / name)
    return tmp_path / "mine"


def write(folder, *lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


def prepare(raw, to, *options):
    """The status of the command, run in this process, and the manifest."""
    arguments = ["--raw", raw, "--to", to, *options]
    status = cli.call(preprocess.Options, preprocess.main, [*map(str, arguments)])
    return status, json.loads((to / "manifest.json").read_text()) if status == 0 else {}


HEADER = "file,label,left,top,width,height"


def numbers(path):
    return [(one.name, "".join(map(str, one.digits))) for one in labels_csv.read(path)]


def test_rows_become_records_with_a_box_or_none(folder):
    rows = ["door 1.jpg,1024,10,5.5,30,20", "", "street/Haus 12a.PNG,12,,,,", '"gate.png", 07 ,,,,']
    path = write(folder, HEADER, *rows)
    expected = [("door 1.jpg", "1024"), ("street/Haus 12a.PNG", "12"), ("gate.png", "07")]
    assert numbers(path) == expected
    assert [one.boxes.tolist() for one in labels_csv.read(path)] == [[[10, 5.5, 30, 20]], [], []]


@pytest.mark.parametrize(
    "content",
    [
        "File,Label\r\ngate.png,7\r\n".encode("utf-8-sig"),
        "file,label\rgate.png,7\r".encode("utf-16"),
        b"sep=;\r\nfile;label\r\ngate.png;7\r\n",
        b'"sep=|"\nfile|label\ngate.png|7',
        b"file\tlabel\ngate.png\t7\n",
        b"file;label;left;top;width;height\ngate.png;7;;;;\n",
    ],
)
def test_tables_of_other_programs_are_read(folder, content):
    (folder / "labels.csv").write_bytes(content)
    assert numbers(folder / "labels.csv") == [("gate.png", "7")]


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("street\\haus 12A.png", "street/Haus 12a.PNG"),
        ("Gate.PNG", "gate.png"),
        (unicodedata.normalize("NFD", "t\u00fcr.png"), "t\u00fcr.png"),
        ("t\u00fcr.png", unicodedata.normalize("NFD", "t\u00fcr.png")),
    ],
)
def test_names_as_other_systems_write_them_find_the_photo(folder, written, there):
    (folder / there).write_bytes(png())
    assert numbers(write(folder, "file,label", f"{written},7")) == [(there, "7")]
    path = write(folder, "file,label", f"{written},7", f"{there},8")
    assert [type(one) for one in labels_csv.read(path)] == [Record, Skipped]


@pytest.mark.parametrize("corners", [True, False])
def test_corners_in_place_of_width_and_height_are_refused(folder, corners):
    right, bottom = (50, 35) if corners else (30, 20)  # of photos of 60 x 40
    rows = [f"{name},7,20,15,{right},{bottom}" for name in ("gate.png", "long.png", "door 1.jpg")]
    path = write(folder, HEADER, *rows)
    if not corners:
        assert len(labels_csv.read(path)) == 3
        return
    with pytest.raises(InputError, match="width and height"):
        labels_csv.read(path)


@pytest.mark.parametrize("name", ["train/labels.csv", "test.tar.gz", "extra/digitStruct.mat"])
def test_a_table_beside_splits_is_refused(folder, name):
    write(folder, "file,label", "gate.png,7")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"mine: .*labels.csv.*{name.partition('/')[0]}"):
        find.find_all(folder)


BAD_ROWS = {  # by a part of the reason
    "no such file": "gone.png,7,,,,",
    "not the name of a file": "../labels.csv,7,,,,",
    "not the name": "/etc/hostname.png,7,,,,",
    "label '12a'": "door 1.jpg,12a,,,,",
    "label ''": "door 1.jpg,,,,,",
    "1;2;3;": "door 1.jpg,5,1,2,3",
    "no comma": 'door 1.jpg,5,"1,5",2,3,4',
    "more values": "door 1.jpg,5,1,5,2,3,4",
    "no width or height": "door 1.jpg,5,1,2,0,9",
    "top is nan": "door 1.jpg,5,1,nan,5,9",
    "line 2": "gate.png,7,,,,",
    "no such file in": ",5,1,2,30,9",
    "file in the folder": "é" * 200 + ".png,5,,,,",
}


def test_every_bad_row_is_listed_with_its_line_number(folder):
    rows = labels_csv.read(write(folder, HEADER, "gate.png,7,,,,", *BAD_ROWS.values()))
    assert isinstance(rows[0], Record)
    assert [one.line for one in rows] == [*range(2, 16)]
    for row, part in zip(rows[1:], BAD_ROWS, strict=True):
        assert part in row.reason


BAD_PHOTOS = {  # line: name, row, part of the reason
    3: ("empty.jpg", "1,,,,", "empty file"),
    4: ("gone.gif", "1,,,,", "no such file"),
    5: ("door 1.jpg", "1024,500,10,20,20", "outside the photo of 60 x 40"),
    6: ("cut.webp", "2,,,,", "damaged image"),
    7: ("gate.png", "8,,,,", "line 2 names it already"),
    8: ("number.tiff", "7,,,,", "image"),
    9: ("street/Haus 12a.PNG", "1x2,,,,", "label '1x2'"),
}


@pytest.fixture
def bad_photos(folder):
    """Rows of all kinds that cannot be used, by the table or only by the photo; two others can."""
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.webp").write_bytes(upright("WEBP", lossless=True)[:-30])
    (folder / "number.tiff").write_bytes(b"seven")
    rows = [f"{name},{row}" for name, row, _ in BAD_PHOTOS.values()]
    return write(folder, HEADER, "gate.png,7,,,,", *rows, "long.png,123456,,,,")


def test_bad_rows_are_listed_and_nothing_is_made(bad_photos, folder, tmp_path, capfd):
    assert prepare(folder, tmp_path / "set") == (1, {})
    first, *lines = capfd.readouterr().err.splitlines()
    assert f"{folder}: 7 rows of its labels.csv" in first
    assert len(lines) == len(BAD_PHOTOS)
    for line, (number, (name, _, reason)) in zip(lines, BAD_PHOTOS.items(), strict=True):
        assert line.startswith(f"line {number}: {name}: ")
        assert reason in line
    assert not (tmp_path / "set").exists()


def test_skip_bad_leaves_those_rows_out_and_the_manifest_has_their_lines(
    bad_photos, folder, tmp_path, capfd
):
    source = prepare(folder, tmp_path / "set", "--skip-bad")[1]["sources"]["train"]
    assert source["kept"] == 2
    skipped = {one["line"]: one for one in source["skipped"]}
    assert {line: one["name"] for line, one in skipped.items()} == {
        line: name for line, (name, *_) in BAD_PHOTOS.items()
    }
    assert all(BAD_PHOTOS[line][2] in one["reason"] for line, one in skipped.items())
    assert "1 x an empty file" in capfd.readouterr().out
    assert prepare(folder, tmp_path / "set")[0] == 1  # nor is that set what the default makes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "file,label,left,top,width,height"),
        (b"name,number\n", "'name,number'"),
        (b"file,label\n", "no rows"),
        (b"file,label\ngate\xff.png,7\n", "byte 16 is not UTF-8"),
        (b'sep=,\nfile,label\n"gate.png,7\n', "line 3 is not valid CSV"),
        (b"file,label\n" + b"x" * 200_000 + b",7\n", "line 2 is not valid CSV"),
    ],
)
def test_a_table_of_another_kind_is_one_line(folder, content, words):
    (folder / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        labels_csv.read(folder / "labels.csv")


def test_own_photos_become_arrays(folder, tmp_path):
    write(folder, HEADER, "door 1.jpg,1024,10,10,20,20", "gate.png,7,,,,", "long.png,123456,,,,")
    options = ("--validation-fraction", 0, "--size", 16)
    assert prepare(folder, tmp_path / "set", *options)[0] == 0
    images, targets, names, *_ = arrays.load_split(tmp_path / "set", "train")
    assert [labels.decode(label) for label in targets] == ["1024", "7", "12345+"]
    assert names.tolist() == [b"train/door 1.jpg", b"train/gate.png", b"train/long.png"]
    colors = [color_of(number) for number in ("1024", "7", "123456")]
    np.testing.assert_allclose(images[:, 8, 8], colors, atol=3)
    boxes, sizes = arrays.load_geometry(tmp_path / "set", "train")
    assert boxes.tolist() == [[10, 10, 20, 20], [0, 0, 60, 40], [0, 0, 60, 40]]
    assert sizes.tolist() == [[60, 40]] * 3


BOXES = "file,left,top,width,height"


@pytest.mark.parametrize(
    "file",
    ["gate.png", "mine/gate.png", "./x/../mine/gate.png", "../mine/gate.png", "MINE\\Gate.PNG"],
)
def test_a_row_of_boxes_names_a_photo_by_the_end_of_its_path(folder, file):
    paths = [str(folder / name) for name in ("door 1.jpg", "gate.png")]
    (folder / "labels.csv").write_text(f"{BOXES}\n{file},-3,0.25,20,1e1\nother.png,1,2,3,4\n")
    assert labels_csv.read_boxes(folder / "labels.csv", ["-", *paths]) == {2: (-3, 0.25, 20, 10)}


def test_a_table_of_labels_holds_boxes_and_a_row_without_one_says_that_the_number_fills_it(folder):
    write(folder, HEADER, f"{folder}/door 1.jpg,1024,1,2,3,4", "gate.png,7,,,,")
    paths = [str(folder / name) for name in ("gate.png", "door 1.jpg")]
    found = labels_csv.read_boxes(folder / "labels.csv", paths)
    assert found == {0: None, 1: (1, 2, 3, 4)}


def test_bad_rows_of_boxes_are_listed_all_at_once(folder):
    bad = ["gate.png,1,2,3", "gate.png,a,2,3,4", "gate.png,1,2,0,4", "gate.png,1,5,2,3,4"]
    path = write(folder, BOXES, *bad, "gate.png,1,2,3,4", "mine/gate.png,,,,")
    with pytest.raises(InputError, match=r"labels.csv: 5 rows") as error:
        labels_csv.read_boxes(path, [str(folder / "gate.png")])
    words = ("1;2;3;", "a;2;3;4", "no width", "more values", "already")
    for line, word, shown in zip((2, 3, 4, 5, 7), words, error.value.details, strict=True):
        assert shown.startswith(f"line {line}: ")
        assert word in shown
    for path, named in ((write(folder, BOXES, "9.png,1,2,3,4"), "no row"), (folder / "no", BOXES)):
        with pytest.raises(InputError, match=f"{path}: .*{named}"):
            labels_csv.read_boxes(path, ["gate.png"])


PIECES = st.sampled_from(
    [
        *("sep=", ";", ",", "\t", "\r", '"', "|", "'", "\0", "é", "\\", "../", "\ufeff", "nan"),
        *("a.png", "7", "1.5", "\n", "file,label\n", f"{HEADER}\n"),
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=20).map("".join), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
def test_any_table_is_read_or_refused_in_one_line(text, encoding):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.csv")
        path.write_bytes(text.encode(encoding, "replace"))
        for read in (labels_csv.read, lambda path: labels_csv.read_boxes(path, [])):
            try:
                read(path)
            except InputError as error:
                assert str(error).isprintable()  # noqa: PT017
