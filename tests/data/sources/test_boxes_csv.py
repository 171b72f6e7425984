"""The table of boxes of photos whose number is unknown."""

import pytest

from svhn_jax.data.sources import boxes_csv, named
from svhn_jax.data.sources.named import Named
from svhn_jax.errors import InputError

HEADER = "file,left,top,width,height"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes a table beside the folder "street" with the photos 1.png and 2.png."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "street" / name).write_bytes(b"")

    def write(*lines):
        (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "boxes.csv"

    return write


BOTH = [Named("street/1.png", "street"), Named("street/2.png", "street")]


def test_rows_have_a_box_or_none(table):
    path = table(HEADER, "1.png,-3,0.25,20,1e1", "", '"2.png",,,,')
    assert boxes_csv.read(path, BOTH) == {0: (-3, 0.25, 20, 10), 1: None}
    path = table("file,label,left,top,width,height", "1.png,102,1,2,3,4", "2.png,7,,,,")
    assert boxes_csv.read(path, BOTH) == {0: (1, 2, 3, 4), 1: None}


def test_bad_rows_are_listed_all_at_once(table):
    bad = ["1.png,1,2,3", "1.png,a,2,3,4", "1.png,1,2,0,4", "1.png,1,5,2,3,4", "a\0.png,1,2,3,4"]
    with pytest.raises(InputError, match=r"boxes.csv: 6 rows") as error:
        boxes_csv.read(table(HEADER, *bad, "1.png,1,2,3,4", "street/1.png,,,,"), BOTH)
    words = ("1;2;3;", "a;2;3;4", "no width", "more values", "", "line 7 names it already")
    lines = [2, 3, 4, 5, 6, 8]
    for line, word, shown in zip(lines, words, error.value.details, strict=True):
        assert shown.startswith(f"line {line}: ")
        assert word in shown
    for path in (table(HEADER).with_name("none.csv"), table("file,box", "1.png,2")):
        with pytest.raises(InputError, match=f"{path}: .*{HEADER}"):
            boxes_csv.read(path, BOTH)


@pytest.mark.parametrize(
    "file", ["1.png", "street/1.png", "./street/../street/1.png", "{folder}/street/1.png"]
)
def test_a_row_names_a_photo_from_its_own_folder_the_current_one_or_that_of_the_photos(
    table, tmp_path, file
):
    path = table(HEADER, f"{file.format(folder=tmp_path)},1,2,3,4", "9.png,1,2,3,4")
    for arguments in (["street"], ["street/*.png"], [tmp_path / "street/1.png", "street/2.png"]):
        photos = named.find([*map(str, arguments)])
        assert boxes_csv.read(path, photos) == {0: (1, 2, 3, 4)}


def test_a_photo_that_is_a_link_or_is_named_twice_is_found(table, tmp_path):
    (tmp_path / "street/link.png").symlink_to("1.png")
    (tmp_path / "other").symlink_to("street")
    photos = named.find(["-", "other", "street/2.png"])
    names = ["-", "other/1.png", "other/2.png", "other/link.png", "street/2.png"]
    assert [one.name for one in photos] == names
    path = table(HEADER, "link.png,1,2,3,4", f"{tmp_path}/other/../street/2.png,5,6,7,8")
    boxes = boxes_csv.read(path, photos)
    assert boxes == {1: (1, 2, 3, 4), 2: (5, 6, 7, 8), 3: (1, 2, 3, 4), 4: (5, 6, 7, 8)}


def test_names_as_other_systems_write_them_and_tables_of_other_photos(table):
    path = table("sep=;", HEADER.replace(",", ";"), "STREET\\1.PNG;1;2;3;4")
    assert boxes_csv.read(path, BOTH) == {0: (1, 2, 3, 4)}
    with pytest.raises(InputError, match="no row names a photo"):
        boxes_csv.read(table(HEADER, "3.png,1,2,3,4"), BOTH)
