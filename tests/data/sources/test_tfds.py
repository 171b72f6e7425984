"""The TFDS data set svhn_full, without TensorFlow, against the archives it was made from."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from archives import MAT, contents, fields, mat_bytes, png, run_python, split_files, write_split

from svhn_jax import cli, preprocess
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import tfds as tfds_source
from svhn_jax.data.sources.find import find_source
from svhn_jax.data.svhn_full import svhn_full_dataset_builder as svhn_full
from svhn_jax.errors import InputError

TRAIN = ["7", "31", "270", "4711", "98765", "123456", "10", "2", "333", "40", "55", "600"]
TEST = ["19", "8"]
VERSION = "svhn_full/1.0.0"


def make(raw, data_dir):
    """As docs/tfds.md says."""
    config = tfds.download.DownloadConfig(manual_dir=raw)
    tfds.builder("svhn_full", data_dir=data_dir).download_and_prepare(download_config=config)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with raw/, two archives, and tfds/, made from them; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    for split, numbers in (("train", TRAIN), ("test", TEST)):
        write_split(folder / "raw", split, split_files(folder, numbers))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svhn_full, "PHOTOS_PER_SHARD", 5)
        make(folder / "raw", folder / "tfds")
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the data set, to be damaged."""
    return Path(shutil.copytree(made / "tfds", tmp_path / "tfds"))


def values(records):
    return [(one.name, one.digits, one.boxes.tolist()) for one in records]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_record_and_photo_is_that_of_the_archive(made, split):
    archive = find_source(made / "raw", split)
    [prepared] = tfds_source.find_all(made / "tfds", [split])
    assert values(prepared.records()) == values(archive.records())
    assert {record.boxes.dtype for record in prepared.records()} == {np.dtype(np.float64)}
    assert list(prepared.photos()) == list(archive.photos())


def test_preprocess_makes_the_arrays_that_it_makes_of_the_archives(made, tmp_path):
    for to, options in (("a", ("raw",)), ("b", ("tfds", "--source", "tfds"))):
        arguments = ["--raw", made / options[0], *options[1:], "--to", tmp_path / to]
        arguments = [*map(str, arguments), "--validation-fraction", "0.3"]
        assert cli.call(preprocess.Options, preprocess.main, arguments) == 0
    a, b = (contents(tmp_path / name) for name in "ab")
    del a["manifest.json"], b["manifest.json"]
    assert a == b


def test_skipped_records_and_photos_are_named(tmp_path):
    box = [[4.0, 6, 6, 12]]
    records = [("1.png", fields("1", box)), ("2.png", fields("2", box)), ("3.png", {})]
    files = {"1.png": png(), "2.png": png()[:-30], "3.png": png(), "4.png": png()}
    write_split(tmp_path / "raw", "test", files | {MAT: mat_bytes(tmp_path, records)})
    make(tmp_path / "raw", tmp_path / "tfds")
    [source] = tfds_source.find_all(tmp_path / "tfds")
    first, *skipped = source.records()
    assert first.name == "1.png"
    assert {one.name for one in skipped} == {"2.png", "3.png", "4.png"}
    assert all(isinstance(one, Skipped) for one in skipped)


def test_photos_without_a_box_for_each_digit_are_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "1.png").write_bytes(png())
    (tmp_path / "raw" / "labels.csv").write_text("file,label\n1.png,12\n")
    with pytest.raises(InputError, match=r"1\.png"):
        make(tmp_path / "raw", tmp_path / "tfds")


def damaged_record(folder):
    [path] = folder.glob("*test.array_record*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


DAMAGES = {
    "record": damaged_record,
    "missing file": lambda folder: next(folder.glob("*test.array_record*")).unlink(),
    "info": lambda folder: (folder / "dataset_info.json").write_text("{"),
    "no info": lambda folder: (folder / "dataset_info.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_data_set_is_named_with_a_remedy(copy, damage):
    damage(copy / VERSION)
    with pytest.raises(InputError, match=rf"^{copy / VERSION}: .*docs/tfds\.md"):
        [list(source.photos()) for source in tfds_source.find_all(copy)]


def test_a_split_that_is_not_there_is_named(made):
    with pytest.raises(InputError, match="extra"):
        tfds_source.find_all(made / "tfds", ["extra"])


def test_tfds_reads_it_without_this_package(made):
    code = (
        "import sys, tensorflow_datasets as tfds\n"
        f"photos = tfds.data_source('svhn_full', split='train', data_dir={str(made / 'tfds')!r})\n"
        "one = photos[1]\n"
        "print(one['number'].decode(), one['image'].shape, [*map(int, one['digits']['label'])])\n"
        "print('tensorflow' in sys.modules, 'svhn_jax' in sys.modules)\n"
    )
    finished = run_python("-c", code)
    assert finished.stdout == "31 (24, 40, 3) [3, 1]\nFalse False\n", finished.stderr
