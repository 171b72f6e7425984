"""digitStruct.mat as written here, read by plain h5py and by the package's own reader."""

import h5py
import numpy as np
import pytest

from svhn_jax.data.records import Record
from svhn_jax.data.sources import digit_struct, hdf5_records
from svhn_jax.data.synthetic import digit_struct_writer


def records(count):
    """Numbers of 1 to 6 digits, whole and broken coordinates, names of 5 to 9 letters."""
    rng = np.random.default_rng(0)
    lengths = 1 + rng.choice(6, count, p=(0.1, 0.4, 0.3, 0.1, 0.05, 0.05))
    return [
        Record(
            f"{number}.png",
            tuple(rng.integers(0, 10, n).tolist()),
            rng.integers(-8, 400, (n, 4)) / 2 + [0, 0, 5, 5],
        )
        for number, n in enumerate(lengths.tolist(), 1)
    ]


WRITTEN = records(300)


@pytest.fixture(scope="module", params=[False, True], ids=["shared scalars", "own scalars"])
def path(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("mat") / "digitStruct.mat"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_struct_writer, "RECORDS_AT_ONCE", 64)  # several chunks
        digit_struct_writer.write(path, WRITTEN, own_scalars=request.param)
    return path


def test_every_record_reads_back_without_the_hdf5_library(path, monkeypatch):
    monkeypatch.setattr(hdf5_records, "read", lambda *_: pytest.fail("the slow way was taken"))
    found = digit_struct.read(path)
    assert [(record.name, record.digits) for record in found] == [
        (record.name, record.digits) for record in WRITTEN
    ]
    for record, written in zip(found, WRITTEN, strict=True):
        np.testing.assert_array_equal(record.boxes, written.boxes)


def test_plain_h5py_reads_it_by_following_references(path):
    with h5py.File(path, "r") as file:
        columns = file["digitStruct/name"], file["digitStruct/bbox"]
        assert [column.shape for column in columns] == [(300, 1), (300, 1)]
        for record, name, box in zip(WRITTEN, columns[0][:, 0], columns[1][:, 0], strict=True):
            assert "".join(map(chr, file[name][:, 0])) == record.name
            group = file[box]
            assert sorted(group) == ["height", "label", "left", "top", "width"]
            values = {}
            for field, column in group.items():
                assert column.shape == (len(record.digits), 1)
                if len(record.digits) == 1:
                    values[field] = [column[0, 0]]
                else:
                    scalars = [file[reference] for reference in column[:, 0]]
                    assert {(scalar.shape, scalar.dtype.str) for scalar in scalars} == {
                        ((1, 1), "<f8")
                    }
                    values[field] = [scalar[0, 0] for scalar in scalars]
            assert values["label"] == [float(digit) or 10.0 for digit in record.digits]
            boxes = np.array([values[field] for field in ("left", "top", "width", "height")]).T
            np.testing.assert_array_equal(boxes, record.boxes)


def test_it_says_what_matlab_says_of_its_variables(path):
    header = path.read_bytes()[:512]
    assert header.startswith(b"MATLAB 7.3 MAT-file")
    assert header[124:128] == b"\x00\x02IM"
    with h5py.File(path, "r") as file:
        assert file.userblock_size == 512
        name, box = (file[file[f"digitStruct/{column}"][0, 0]] for column in ("name", "bbox"))
        assert file["digitStruct"].attrs["MATLAB_class"] == b"struct"
        assert (name.attrs["MATLAB_class"], name.attrs["MATLAB_int_decode"]) == (b"char", 2)
        assert box.attrs["MATLAB_class"] == b"struct"


def test_the_file_ends_where_it_says_and_can_be_written_to(path, tmp_path):
    copy = tmp_path / "copy.mat"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        assert file.id.get_filesize() == path.stat().st_size
        file["more"] = np.arange(1000)
    assert len(digit_struct.read(path)) == len(WRITTEN)
    with h5py.File(copy, "r") as file:
        assert file["more"][999] == 999
        assert "".join(map(chr, file[file["digitStruct/name"][299, 0]][:, 0])) == "300.png"


@pytest.mark.parametrize("count", [1, 2])
def test_few_records_are_a_file_too(tmp_path, count):
    digit_struct_writer.write(tmp_path / "few.mat", WRITTEN[:count])
    with h5py.File(tmp_path / "few.mat", "r") as file:
        assert file["digitStruct/name"].shape == (count, 1)
    assert [record.name for record in digit_struct.read(tmp_path / "few.mat")] == [
        "1.png",
        "2.png",
    ][:count]
