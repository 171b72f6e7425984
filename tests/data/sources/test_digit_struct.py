"""digitStruct.mat, read from files that plain h5py laid out as MATLAB does."""

import multiprocessing
import os
import re
import signal
import time

import h5py
import numpy as np
import pytest
from archives import fields, write_mat

from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import digit_struct, hdf5_records
from svhn_jax.data.synthetic import digit_struct_writer
from svhn_jax.errors import InputError

GOOD = [
    ("1.png", fields("5", [[43, 7, 19, 30]])),
    ("2.png", fields("210", [[99, 5, 14, 23], [114, 8, 8, 23], [121, 6, 12, 23]])),
    ("3.png", fields("0", [[-3, -1.5, 11, 16]])),
]


def test_labels_and_boxes_are_read_inline_and_by_reference(tmp_path):
    write_mat(tmp_path / "a.mat", GOOD)
    first, second, third = digit_struct.read(tmp_path / "a.mat")
    assert (first.name, first.digits, first.boxes.tolist()) == ("1.png", (5,), [[43, 7, 19, 30]])
    assert (second.name, second.digits) == ("2.png", (2, 1, 0))
    assert second.boxes.tolist() == [[99, 5, 14, 23], [114, 8, 8, 23], [121, 6, 12, 23]]
    assert (third.name, third.digits, third.boxes.tolist()) == ("3.png", (0,), [[-3, -1.5, 11, 16]])


def set_scalar(field, value):
    def change(file):
        file[f"#refs#/{field}1_1"][0, 0] = value

    return change


def replace_field(field, **dataset):
    def change(file):
        del file[f"#refs#/box1/{field}"]
        if dataset:
            file["#refs#/box1"].create_dataset(field, **dataset)

    return change


def box_becomes_a_scalar(file):
    file["digitStruct/bbox"][1, 0] = file["#refs#/left1_0"].ref


def box_refers_to_nothing(file):
    file["digitStruct/bbox"][1, 0] = h5py.Reference()


def field_refers_past_the_end_of_the_file(file):
    file.flush()
    with open(file.filename, "r+b") as raw:
        raw.seek(
            file["#refs#/box1/left"].id.get_offset() + 8
        )  # a reference is an address of 8 bytes
        raw.write((2**40).to_bytes(8, "little"))


def field_refers_to_nothing(file):
    file["#refs#/box1/left"][1, 0] = h5py.Reference()


def field_refers_to_a_list(file):
    file["#refs#/box1/left"][1, 0] = file.create_dataset("#refs#/list", data=np.ones((2, 1))).ref


QUIRKS = {
    "missing field": (replace_field("top"), "no field top"),
    "no label field": (replace_field("label"), "no field label"),
    "box is no group": (box_becomes_a_scalar, "no box"),
    "box refers to nothing": (box_refers_to_nothing, ""),
    "all fields empty": (replace_field("label", data=np.zeros((0, 1))), "no box"),
    "label 0": (set_scalar("label", 0.0), "label 0 is not 1 to 10"),
    "label 11": (set_scalar("label", 11.0), "label 11 is not 1 to 10"),
    "label 2.5": (set_scalar("label", 2.5), "label 2.5 is not 1 to 10"),
    "label nan": (set_scalar("label", np.nan), "label nan is not 1 to 10"),
    "fields differ in length": (replace_field("left", data=np.ones((2, 1))), "differ in length"),
    "zero width": (set_scalar("width", 0.0), "no width or height"),
    "width of next to nothing": (set_scalar("width", 5e-324), "no width or height"),
    "negative height": (set_scalar("height", -4.0), "no width or height"),
    "infinite box": (set_scalar("left", np.inf), "not finite"),
    "box of nan": (set_scalar("top", np.nan), "not finite"),
    "giant field": (
        replace_field("left", shape=(10**9, 1), dtype="f8", chunks=(1024, 1)),
        "has 1000000000 values",
    ),
    "dangling reference": (field_refers_past_the_end_of_the_file, ""),
    "null reference": (field_refers_to_nothing, ""),
    "reference to a list": (field_refers_to_a_list, r"shape \(2, 1\)"),
    "text field": (replace_field("left", data=[b"a", b"b", b"c"]), ""),
}


@pytest.mark.parametrize(("change", "reason"), QUIRKS.values(), ids=QUIRKS.keys())
def test_a_bad_record_is_named_with_its_reason_and_the_others_survive(tmp_path, change, reason):
    write_mat(tmp_path / "a.mat", GOOD)
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        change(file)
    first, bad, third = digit_struct.read(tmp_path / "a.mat")
    assert (first.digits, third.digits) == ((5,), (0,))
    assert isinstance(bad, Skipped)
    assert bad.name == "2.png"
    assert bad.reason
    assert re.search(reason, bad.reason)


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_record_without_a_usable_name_is_named_by_its_position(tmp_path, name):
    write_mat(tmp_path / "a.mat", [GOOD[0], (name, fields("4", [[1, 1, 2, 2]])), GOOD[2]])
    records = list(digit_struct.read(tmp_path / "a.mat"))
    assert [record.name for record in records] == ["1.png", "record 2", "3.png"]
    assert isinstance(records[1], Skipped)


def unreadable(tmp_path, kind):
    path = tmp_path / "digitStruct.mat"
    if kind == "text":
        path.write_text("not HDF5 at all\n" * 100)
    elif kind == "truncated":
        write_mat(path, GOOD)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        with h5py.File(path, "w") as file:
            if kind == "unequal counts":
                file.create_dataset("digitStruct/name", (3, 1), h5py.ref_dtype)
                file.create_dataset("digitStruct/bbox", (2, 1), h5py.ref_dtype)
            elif kind == "flat":
                file["digitStruct"] = np.zeros(3)
            elif kind == "struct of no columns":
                file.create_dataset("digitStruct/name", (0, 0), h5py.ref_dtype)
                file.create_dataset("digitStruct/bbox", (0, 0), h5py.ref_dtype)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "not found"),
        ("pipe", "no regular file"),
        ("text", "not a readable MATLAB v7.3"),
        ("truncated", "not a readable MATLAB v7.3"),
        ("no digitStruct", "no digitStruct"),
        ("flat", "no digitStruct"),
        ("unequal counts", "3 names but 2 boxes"),
        pytest.param(
            "struct of no columns",
            "no digitStruct",
        ),
    ],
)
def test_an_unreadable_file_is_one_line_that_names_it(tmp_path, kind, words):
    path = unreadable(tmp_path, kind)
    with pytest.raises(InputError, match=words) as caught:
        list(digit_struct.read(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


WRITTEN = [
    Record("1.png", (0,), np.array([[4.0, 5, 6, 7]])),
    Record("2.png", (1, 0, 1), np.array([[-2.0, 5, 6, 7], [4, 5, 6, 7.25], [14, 5, 6, 7]])),
    Record("17.png", (9, 8, 7, 6, 5, 4), np.arange(1.0, 25).reshape(6, 4)),
]


def test_what_write_writes_reads_back_the_same(tmp_path):
    digit_struct_writer.write(tmp_path / "a.mat", WRITTEN)
    records = list(digit_struct.read(tmp_path / "a.mat"))
    assert [(record.name, record.digits) for record in records] == [
        (r.name, r.digits) for r in WRITTEN
    ]
    for record, written in zip(records, WRITTEN, strict=True):
        np.testing.assert_array_equal(record.boxes, written.boxes)


def test_write_lays_the_file_out_as_matlab_does(tmp_path):
    digit_struct_writer.write(tmp_path / "a.mat", WRITTEN)
    header = (tmp_path / "a.mat").read_bytes()[:512]
    assert header.startswith(b"MATLAB 7.3 MAT-file")
    assert header[124:128] == b"\x00\x02IM"
    with h5py.File(tmp_path / "a.mat", "r") as file:
        one, three, _ = (file[ref] for ref in file["digitStruct/bbox"][:, 0])
        assert one["label"].shape == (1, 1)
        assert one["label"][0, 0] == 10.0
        assert three["label"].shape == (3, 1)
        assert [file[ref][0, 0] for ref in three["label"][:, 0]] == [1.0, 10.0, 1.0]
        assert [file[ref][0, 0] for ref in three["height"][:, 0]] == [7.0, 7.25, 7.0]
        assert "".join(map(chr, file[file["digitStruct/name"][2, 0]][:, 0])) == "17.png"


@pytest.mark.parametrize("walks", [True, False])
def test_a_name_with_a_nul_in_it_is_none_by_either_way(tmp_path, monkeypatch, walks):
    write_mat(tmp_path / "a.mat", [("1.png\0", fields("4", [[1, 1, 2, 2]])), GOOD[1]])
    if not walks:
        monkeypatch.setattr(digit_struct, "_walk", lambda _: None)
    bad, good = digit_struct.read(tmp_path / "a.mat")
    assert (bad.reason, good.name) == ("no printable name", "2.png")


def records_as_values(records):
    return [
        (r.name, r.reason)
        if isinstance(r, Skipped)
        else (r.name, r.digits, r.boxes.tolist(), r.boxes.dtype.str)
        for r in records
    ]


def test_the_usual_layout_is_read_without_the_library_and_reads_the_same(tmp_path, monkeypatch):
    many = [
        (f"{i}.png", fields(str(i), [[i + j, j, 5, 9.5] for j in range(len(str(i)))]))
        for i in range(1, 120)
    ]
    write_mat(tmp_path / "plain.mat", many)
    digit_struct_writer.write(tmp_path / "ours.mat", WRITTEN)
    for name in ("plain.mat", "ours.mat"):
        monkeypatch.setattr(digit_struct, "RECORDS_AT_ONCE", 50)
        with monkeypatch.context() as patch:
            patch.setattr(hdf5_records, "read", lambda *_: pytest.fail("the slow way was taken"))
            walked = digit_struct.read(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setattr(digit_struct, "_walk", lambda _: None)
            assert records_as_values(digit_struct.read(tmp_path / name)) == records_as_values(
                walked
            )


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 512, 1024])
def test_other_layouts_are_read_too(tmp_path, monkeypatch, libver, userblock):
    open_file = h5py.File
    monkeypatch.setattr(
        h5py,
        "File",
        lambda path, mode, **_: open_file(path, mode, libver=libver, userblock_size=userblock),
    )
    write_mat(tmp_path / "a.mat", GOOD)
    monkeypatch.setattr(h5py, "File", open_file)
    assert [record.digits for record in digit_struct.read(tmp_path / "a.mat")] == [
        (5,),
        (2, 1, 0),
        (0,),
    ]


def external_field(file):
    del file["#refs#/box1/left"]
    file["#refs#/box1"]["left"] = h5py.ExternalLink("/etc/hostname", "/left")


def soft_field(file):
    del file["#refs#/box1/left"]
    file["#refs#/box1"]["left"] = h5py.SoftLink("/#refs#/box0/left")


def field_of_another_files_bytes(file):
    del file["#refs#/box1/left"]
    file["#refs#/box1"].create_dataset("left", (3, 1), "<f8", external=[("/etc/hostname", 0, 24)])


def virtual_field(file):
    del file["#refs#/box1/left"]
    layout = h5py.VirtualLayout((3, 1), "<f8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "left", (3, 1))
    file["#refs#/box1"].create_virtual_dataset("left", layout)


def box_in_a_circle(file):
    group = file["#refs#/box1"]
    for field in ("left", "top", "width", "height", "label"):
        del group[field]
        group[field] = group


def field_that_refers_to_its_box(file):
    file["#refs#/box1/left"][0, 0] = file["#refs#/box1"].ref


HOSTILE = {
    "external link": (external_field, "left is a link"),
    "soft link": (soft_field, "left is a link"),
    "external bytes": (field_of_another_files_bytes, "data in another file"),
    "virtual": (virtual_field, "data in another file"),
    "circle": (box_in_a_circle, ""),
    "reference back": (field_that_refers_to_its_box, "leads nowhere"),
}


@pytest.mark.parametrize(("change", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_leads_out_of_the_file_or_round_in_circles(tmp_path, change, reason):
    write_mat(tmp_path / "a.mat", GOOD)
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        change(file)
    first, bad, third = digit_struct.read(tmp_path / "a.mat")
    assert (first.digits, third.digits) == ((5,), (0,))
    assert isinstance(bad, Skipped)
    assert re.search(reason, bad.reason), bad


def test_a_column_that_claims_more_records_than_fit_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        for name in ("name", "bbox"):
            file.create_dataset(f"digitStruct/{name}", (10**9, 1), h5py.ref_dtype, chunks=(1024, 1))
    with pytest.raises(
        InputError, match="claims 1000000000 records, more than the file has room for"
    ):
        digit_struct.read(tmp_path / "a.mat")


def test_a_digit_struct_in_another_file_is_refused(tmp_path):
    write_mat(tmp_path / "other.mat", GOOD)
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["digitStruct"] = h5py.ExternalLink(str(tmp_path / "other.mat"), "/digitStruct")
    with pytest.raises(InputError, match="no digitStruct with name and bbox"):
        digit_struct.read(tmp_path / "a.mat")


def crash(*_):
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(*_):
    time.sleep(100)


@pytest.mark.parametrize(
    ("behaviour", "words"), [(crash, "library crashed on it"), (hang, "did not finish reading")]
)
def test_a_library_that_crashes_or_hangs_on_a_file_costs_one_line(
    tmp_path, monkeypatch, behaviour, words
):
    with h5py.File(tmp_path / "a.mat", "w", libver="latest"):
        pass
    monkeypatch.setattr(hdf5_records, "_answer", behaviour)
    monkeypatch.setattr(hdf5_records, "SECONDS", 2.0 if behaviour is hang else 60.0)
    with pytest.raises(InputError, match=words):
        digit_struct.read(tmp_path / "a.mat")
    assert multiprocessing.active_children() == []


def claim(path, count, room=0):
    """A file whose two columns claim so many records, and lead nowhere; and which has room for more than that."""
    with h5py.File(path, "w") as file:
        file["#refs#/room"] = np.zeros(room, np.uint8)
        for name in ("name", "bbox"):
            column = file.create_dataset(f"digitStruct/{name}", (count, 1), h5py.ref_dtype)
            column[0, 0] = file.ref


def test_a_file_that_claims_more_records_than_it_has_room_for_is_refused(tmp_path):
    claim(tmp_path / "a.mat", 100_000)
    with pytest.raises(
        InputError, match="name claims 100000 records, more than the file has room for"
    ):
        digit_struct.read(tmp_path / "a.mat")


def test_a_file_of_bad_records_only_is_given_up(tmp_path):
    claim(tmp_path / "a.mat", 30_000, room=16_000_000)
    with pytest.raises(
        InputError,
        match=r"more than 10,000 of its records cannot be read, the last, record 10001: ",
    ):
        digit_struct.read(tmp_path / "a.mat")


def test_what_cannot_be_printed_is_told_in_few_words(tmp_path):
    write_mat(tmp_path / "a.mat", [("\uabcd" * 255, fields("4", [[1, 1, 2, 2]]))])
    assert digit_struct.read(tmp_path / "a.mat") == [
        Skipped(("\\uabcd" * 34)[:200], "no printable name")
    ]
