"""digitStruct.mat, read from files that plain h5py laid out as MATLAB does."""

import os
import re
import signal

import h5py
import numpy as np
import pytest
from archives import fields, write_mat

from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import digit_struct
from svhn_jax.errors import InputError

GOOD = [
    ("1.png", fields("5", [[43, 7, 19, 30]])),
    ("2.png", fields("210", [[99, 5, 14, 23], [114, 8, 8, 23], [121, 6, 12, 23]])),
    ("3.png", fields("0", [[-3, -1.5, 11, 16]])),
]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Starting a process for each file would take most of the time."""
    monkeypatch.setattr(digit_struct, "usable_cores", lambda: 0)


def values(records):
    return [(one.name, one.digits, one.boxes.tolist()) for one in records]


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("kind", ["<f8", "<i4", ">u2", "<f4"])
def test_labels_and_boxes_are_read_inline_and_by_reference(tmp_path, monkeypatch, libver, kind):
    monkeypatch.setattr(digit_struct, "RECORDS_AT_ONCE", 2)
    left = -1.5 if "f" in kind else -1 if "i" in kind else 1
    good = [*GOOD[:2], ("3.png", fields("0", [[left, 2, 11, 16]]))]
    write_mat(tmp_path / "a.mat", good, libver, kind)
    assert values(digit_struct.read(tmp_path / "a.mat")) == [
        ("1.png", (5,), [[43, 7, 19, 30]]),
        ("2.png", (2, 1, 0), [[99, 5, 14, 23], [114, 8, 8, 23], [121, 6, 12, 23]]),
        ("3.png", (0,), [[left, 2, 11, 16]]),
    ]


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


def box_in_a_circle(file):
    group = file["#refs#/box1"]
    for field in ("left", "top", "width", "height", "label"):
        del group[field]
        group[field] = group


def field_that_refers_to_its_box(file):
    file["#refs#/box1/left"][0, 0] = file["#refs#/box1"].ref


QUIRKS = {
    "missing field": (replace_field("top"), "no field top"),
    "box is no group": (box_becomes_a_scalar, "no box"),
    "box refers to nothing": (box_refers_to_nothing, ""),
    "all fields empty": (replace_field("label", data=np.zeros((0, 1))), "no box"),
    "label 0": (set_scalar("label", 0.0), "label 0 is not 1 to 10"),
    "label nan": (set_scalar("label", np.nan), "label nan is not 1 to 10"),
    "fields differ in length": (replace_field("left", data=np.ones((2, 1))), "differ in length"),
    "zero width": (set_scalar("width", 0.0), "no width or height"),
    "negative height": (set_scalar("height", -4.0), "no width or height"),
    "infinite box": (set_scalar("left", np.inf), "not finite"),
    "giant field": (
        replace_field("left", shape=(10**9, 1), dtype="f8", chunks=(1024, 1)),
        "left: 1000000000 values",
    ),
    "dangling reference": (field_refers_past_the_end_of_the_file, ""),
    "null reference": (field_refers_to_nothing, ""),
    "circle": (box_in_a_circle, ""),
    "reference back": (field_that_refers_to_its_box, "its field left"),
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


@pytest.mark.parametrize("name", ["", "x" * 1001, "1.png\0", "\uabcd" * 255, "../1.png"])
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
        ("pipe", "not found"),
        ("text", "HDF5"),
        ("truncated", "HDF5"),
        ("no digitStruct", "no readable digitStruct"),
        ("flat", "no readable digitStruct"),
        ("unequal counts", "(2, 1)"),
        ("struct of no columns", "(0, 0)"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path, kind, words):
    refuse(unreadable(tmp_path, kind), words)


def refuse(path, *named):
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: ") as caught:
        digit_struct.read(path)
    assert all(one in str(caught.value) for one in named)
    assert "\n" not in str(caught.value)


def test_columns_that_claim_more_records_than_fit_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        for name in ("name", "bbox"):
            file.create_dataset(f"digitStruct/{name}", (10**9, 1), h5py.ref_dtype, chunks=(1024, 1))
    refuse(tmp_path / "a.mat", "claims 1000000000 records")


def test_a_library_that_crashes_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    write_mat(tmp_path / "a.mat", GOOD)
    monkeypatch.setattr(digit_struct, "usable_cores", lambda: 1)
    monkeypatch.setattr(digit_struct, "_count", crash)
    refuse(tmp_path / "a.mat")


def crash(called, path):
    os.kill(os.getpid(), signal.SIGSEGV)
