"""Photos of one's own: labels.csv is read, its bad rows are listed all at once, and the arrays come out."""

import io
import json
import unicodedata

import numpy as np
import pytest
from archives import color_of, png, upright
from PIL import Image

from svhn_jax import cli, labels, preprocess
from svhn_jax.data import arrays
from svhn_jax.data.prepare import build
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import find, labels_csv
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
        Image.new("RGB", (60, 40), color_of(number)).save(
            stream, "PNG" if name.lower().endswith("png") else "JPEG"
        )
        (tmp_path / "mine" / name).write_bytes(stream.getvalue())
    return tmp_path / "mine"


def write(folder, *lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


def call(raw, to, *options):
    arguments = ["--raw", raw, "--to", to, *options]
    return cli.call(preprocess.Options, preprocess.main, list(map(str, arguments)))


def prepare(raw, to, *options):
    """The manifest of the command, run in this process."""
    assert call(raw, to, *options) == 0
    return json.loads((to / "manifest.json").read_text())


HEADER = "file,label,left,top,width,height"


def numbers(path):
    return [(one.name, "".join(map(str, one.digits))) for one in labels_csv.read(path)]


def test_rows_become_records_with_a_box_or_none(folder):
    path = write(
        folder,
        HEADER,
        "door 1.jpg,1024,10,5.5,30,20",
        "",
        "street/Haus 12a.PNG,12,,,,",
        '"gate.png", 07 ,,,,',
    )
    assert numbers(path) == [
        ("door 1.jpg", "1024"),
        ("street/Haus 12a.PNG", "12"),
        ("gate.png", "07"),
    ]
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


def test_a_decimal_comma_is_named(folder):
    path = write(folder, HEADER.replace(",", ";"), "door 1.jpg;5;1,5;2;3;4")
    [skipped] = labels_csv.read(path)
    assert (skipped.line, "write 1.5" in skipped.reason) == (2, True)


@pytest.mark.parametrize("name", ["train/labels.csv", "test.tar.gz", "extra/digitStruct.mat"])
def test_a_table_beside_splits_is_refused(folder, name):
    write(folder, "file,label", "gate.png,7")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    other = name.partition("/")[0]
    with pytest.raises(InputError, match=rf"mine: .*labels\.csv .*{other}"):
        find.find_all(folder)


def test_photos_without_a_table_are_an_error_that_names_it(folder):
    (folder / "gate.png").rename(folder / "street/gate.png")
    (folder / "street").rename(folder / "train")
    with pytest.raises(InputError, match=r"train/digitStruct\.mat: .*labels\.csv"):
        find.find_all(folder)[0].records()
    with pytest.raises(InputError, match=r"labels\.csv"):
        find.find_all(folder / "train")


def test_photos_without_a_row_are_named(folder, tmp_path):
    write(folder, "file,label", "gate.png,7")
    skipped = prepare(folder, tmp_path / "set")["sources"]["train"]["skipped"]
    assert [entry["name"] for entry in skipped] == ["door 1.jpg", "long.png", "street/Haus 12a.PNG"]
    assert {entry["reason"] for entry in skipped} == {"no row in labels.csv"}


BAD_ROWS = {  # by what is said of them
    "no such file": "gone.png,7,,,,",
    "not the name of a file": "../labels.csv,7,,,,",
    "not the name": "/etc/hostname.png,7,,,,",
    "suffix '.csv'": "labels.csv,7,,,,",
    "label '12a'": "door 1.jpg,12a,,,,",
    "label ''": "door 1.jpg,,,,,",
    "5 values": "door 1.jpg,5,1,2,3",
    "height is ''": "door 1.jpg,5,1,2,3,",
    "no width or height": "door 1.jpg,5,1,2,0,9",
    "top is nan": "door 1.jpg,5,1,nan,5,9",
    "line 2": "gate.png,7,,,,",
    "no width": "long.png,5,1,2,30,1e-9",
    "name of a file": ",5,1,2,30,9",
    "a file in the folder": "é" * 200 + ".png,5,,,,",
}


def test_every_bad_row_is_listed_with_its_line_number(folder):
    rows = labels_csv.read(write(folder, HEADER, "gate.png,7,,,,", *BAD_ROWS.values()))
    assert isinstance(rows[0], Record)
    assert [one.line for one in rows] == [*range(2, 17)]
    assert [
        words for one, words in zip(rows[1:], BAD_ROWS, strict=True) if words not in one.reason
    ] == []


def bad_photos(folder):
    """Rows of all kinds that cannot be used, whether the table shows it or only the photo; three can."""
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.webp").write_bytes(upright("WEBP", lossless=True)[:-30])
    (folder / "elsewhere.png").symlink_to("/etc/hostname")
    (folder / "number.tiff").write_bytes(b"seven")
    return write(
        folder,
        HEADER,
        "gate.png,7,,,,",
        "empty.jpg,1,,,,",
        "gone.gif,1,,,,",
        "door 1.jpg,1024,500,10,20,20",
        "cut.webp,2,,,,",
        "gate.png,8,,,,",
        "elsewhere.png,3,,,,",
        "number.tiff,7,,,,",
        "long.png,123456,,,,",
        "street/Haus 12a.PNG,1x2,,,,",
    )


BAD_PHOTOS = [
    (3, "empty.jpg", "an empty file; copy it again"),
    (4, "gone.gif", "no such file in the folder"),
    (5, "door 1.jpg", "its boxes lie outside the photo of 60 x 40 pixels"),
    (6, "cut.webp", "damaged image"),
    (7, "gate.png", "line 2 names it already"),
    (8, "elsewhere.png", "a link that leads out of the folder"),
    (9, "number.tiff", "not a readable image; convert it to PNG or JPEG"),
    (11, "street/Haus 12a.PNG", "label '1x2' is not a number; write its digits"),
]


def test_every_row_that_cannot_be_used_is_listed_with_its_line_and_nothing_is_made(
    folder, tmp_path, monkeypatch, capsys
):
    table = bad_photos(folder)
    assert call(folder, tmp_path / "set") == 1
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {table}: 8 of its rows cannot be used")
    expected = [f"line {line}: {name}: {why}" for line, name, why in BAD_PHOTOS]
    assert [line.split(" (")[0] for line in lines] == expected
    assert not (tmp_path / "set").exists()
    monkeypatch.setattr(build, "MOST_BAD_SHOWN", 2)
    assert call(folder, tmp_path / "set") == 1
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_skip_bad_leaves_those_rows_out_and_the_manifest_has_their_lines(folder, tmp_path, capsys):
    bad_photos(folder)
    source = prepare(folder, tmp_path / "set", "--skip-bad")["sources"]["train"]
    assert source["kept"] == 2
    assert source["noted"]["a number of more than 5 digits"] == 1
    skipped = sorted(source["skipped"], key=lambda one: one["line"])
    reasons = [(one["line"], one["name"], one["reason"].split(" (")[0]) for one in skipped]
    assert reasons == BAD_PHOTOS
    assert "an empty file; copy it again: empty.jpg (line 3)" in capsys.readouterr().out
    prepare(folder, tmp_path / "set", "--skip-bad")
    assert "is up to date" in capsys.readouterr().out
    assert call(folder, tmp_path / "set") == 1  # nor is that set what the default makes


@pytest.mark.parametrize(
    ("count", "fraction", "held_out"),
    [(14, 0.05, 1), (2, 0.01, 1), (1, 0.5, 0), (14, 0, 0), (14, 0.2, 2)],
)
def test_few_photos_leave_at_least_one_for_validation(
    tmp_path, monkeypatch, count, fraction, held_out
):
    (tmp_path / "mine").mkdir()
    for number in range(count):
        (tmp_path / "mine" / f"{number}.png").write_bytes(png())
    write(tmp_path / "mine", "file,label", *(f"{number}.png,{number}" for number in range(count)))
    manifest = prepare(tmp_path / "mine", tmp_path / "set", "--validation-fraction", fraction)
    assert manifest["splits"]["validation"]["examples"] == held_out
    assert manifest["splits"]["train"]["examples"] == count - held_out


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


def test_own_photos_become_the_same_arrays_and_manifest(folder, tmp_path, monkeypatch):
    write(folder, HEADER, "door 1.jpg,1024,10,10,20,20", "gate.png,7,,,,", "long.png,123456,,,,")
    manifest = prepare(folder, tmp_path / "set", "--validation-fraction", 0, "--size", 16)
    images, targets, names, *_ = arrays.load_split(tmp_path / "set", "train")
    assert [labels.decode(label) for label in targets] == ["1024", "7", "12345+"]
    assert names.tolist() == [b"train/door 1.jpg", b"train/gate.png", b"train/long.png"]
    np.testing.assert_allclose(
        images[:, 8, 8], [color_of(number) for number in ("1024", "7", "123456")], atol=3
    )
    boxes, sizes = arrays.load_geometry(tmp_path / "set", "train")
    assert boxes.tolist() == [[10, 10, 20, 20], [0, 0, 60, 40], [0, 0, 60, 40]]
    assert sizes.tolist() == [[60, 40]] * 3
    assert manifest["sources"]["train"]["kept"] == 3


def test_train_and_test_may_each_have_a_table(folder, tmp_path, monkeypatch):
    for split in ("train", "test"):
        (tmp_path / "raw" / split).mkdir(parents=True)
        (tmp_path / "raw" / split / "1.png").write_bytes(png())
        write(tmp_path / "raw" / split, "file,label", "1.png,5" if split == "train" else "1.png,6")
    prepare(tmp_path / "raw", tmp_path / "set")
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
    prepare(tmp_path / "mine", tmp_path / "set", "--validation-fraction", 0)
    image = arrays.load_split(tmp_path / "set", "train").images[0]
    assert image[8, 32, 0] > 150 > 50 > image[8, 32, 2]  # red above
    assert image[56, 32, 2] > 150 > 50 > image[56, 32, 0]  # blue below
    assert arrays.load_geometry(tmp_path / "set", "train")[1].tolist() == [[16, 32]]
