"""The TFDS data set svhn_full, and TFDS data sets as sources of photos, against the archives they came from."""

import dataclasses
import functools
import http.server
import io
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from archives import (
    MAT,
    REPOSITORY,
    assert_one_error_line,
    fields,
    mat_bytes,
    png,
    run_python,
    split_files,
    tar_gz,
    write_split,
)
from PIL import Image

from svhn_jax.data import crop
from svhn_jax.data.photos import decode_photo
from svhn_jax.data.records import Skipped
from svhn_jax.data.sources import published
from svhn_jax.data.sources import tfds as tfds_source
from svhn_jax.data.sources.find import find_source
from svhn_jax.data.sources.tfds import CroppedDigits, TfdsSource
from svhn_jax.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")
svhn_full = pytest.importorskip("svhn_jax.data.svhn_full.svhn_full_dataset_builder")

REAL = Path(os.environ.get("SVHN_REAL", REPOSITORY.parent / "shared" / "real"))
TRAIN = ["7", "31", "270", "4711", "98765", "123456", "10", "2", "333", "40", "55", "600"]
TEST = ["19", "8"]
VERSION = "svhn_full/1.0.0"
# Python as it is where a package is not installed, although it may be.
WITHOUT = """
import sys
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] == {!r} else self.finder.find_spec(name, *rest)
sys.meta_path[:] = map(Without, sys.meta_path)
"""


def prepare(raw, data_dir):
    builder = svhn_full.Builder(data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=raw))
    return builder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with raw/, two archives, and tfds/, prepared from them; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    for split, numbers in (("train", TRAIN), ("test", TEST)):
        write_split(folder / "raw", split, split_files(folder, numbers))
    prepare(folder / "raw", folder / "tfds")
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the prepared data set, to be damaged."""
    return Path(shutil.copytree(made / "tfds", tmp_path / "tfds"))


def plain(records):
    return [
        tuple(record)
        if isinstance(record, Skipped)
        else (record.name, record.digits, record.boxes.tolist())
        for record in records
    ]


def assert_same_as_archive(raw, data_dir, split):
    archive, prepared = find_source(raw, split), TfdsSource(data_dir, split)
    records = archive.records()
    assert plain(prepared.records()) == plain(records)
    assert {record.boxes.dtype for record in prepared.records()} == {np.dtype(np.float64)}
    stored = {photo.name: photo for photo in archive.photos()}
    assert list(prepared.photos()) == [stored[record.name] for record in records]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_name_digit_box_and_photo_is_that_of_the_archive(made, split):
    assert_same_as_archive(made / "raw", made / "tfds", split)


@pytest.mark.skipif(
    not REAL.is_dir(), reason=f"no real SVHN photos at {REAL}; SVHN_REAL names their folder"
)
def test_real_photos_are_those_of_the_archives(tmp_path):
    (tmp_path / "raw").mkdir()
    for split in ("train", "test"):
        (tmp_path / "raw" / f"{split}.tar.gz").symlink_to(REAL / "format1" / f"{split}.tar.gz")
    builder = prepare(tmp_path / "raw", tmp_path)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 2000,
        "test": 500,
    }
    for split in ("train", "test"):
        assert builder.info.metadata["left_out"][split] == {"records": [], "photos": []}
        assert_same_as_archive(tmp_path / "raw", tmp_path, split)


@pytest.mark.parametrize("stored", ["in order", "backwards", "as a folder"])
def test_photos_come_in_the_order_of_the_records_however_they_are_stored(
    tmp_path, monkeypatch, stored
):
    monkeypatch.setattr(svhn_full, "PHOTOS_PER_SHARD", 5)
    files = split_files(tmp_path, TRAIN)  # 12 photos, of which the third is lost
    del files["3.png"]
    if stored == "backwards":
        files = dict(reversed(files.items()))
    write_split(tmp_path / "raw", "train", files, as_archive=stored != "as a folder")
    builder = prepare(tmp_path / "raw", tmp_path / "tfds")
    assert builder.info.splits["train"].shard_lengths == [5, 5, 1]
    source = builder.as_data_source("train")
    assert [example["name"].decode() for example in source] == [
        f"{i}.png" for i in range(1, 13) if i != 3
    ]
    assert [example["number"].decode() for example in source] == TRAIN[:2] + TRAIN[3:]
    for example in source:
        pixels = np.asarray(Image.open(io.BytesIO(files[example["name"].decode()])))
        np.testing.assert_array_equal(example["image"], pixels)
    names = {path.name for path in (tmp_path / "tfds" / VERSION).iterdir()}
    shards = {f"svhn_full-train.array_record-0000{i}-of-00003" for i in range(3)}
    assert names == shards | {"dataset_info.json", "features.json", "metadata.json", "LICENSE"}


def test_the_last_shard_reads_the_archive_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(svhn_full, "PHOTOS_PER_SHARD", len(TEST))
    write_split(tmp_path / "raw", "test", split_files(tmp_path, TEST) | {"stranger.png": png()})
    left_out = prepare(tmp_path / "raw", tmp_path / "tfds").info.metadata["left_out"]["test"]
    assert left_out["photos"] == [{"name": "stranger.png", "reason": "no record of that name"}]


def test_a_data_source_has_the_published_pixels_and_digits(made):
    example = tfds.data_source("svhn_full", split="train", data_dir=made / "tfds")[2]
    assert example["name"] == b"3.png"
    assert example["number"] == b"270"
    assert example["image"].shape == (24, 40, 3)
    assert example["digits"]["label"] == [2, 7, 0]
    assert np.array(example["digits"]["bbox"]).tolist() == [
        [4, 6, 6, 12],
        [10, 6, 6, 12],
        [16, 6, 6, 12],
    ]


def test_whatever_cannot_be_used_is_named_and_the_source_tells_it_as_the_archive_does(tmp_path):
    box, third = [[4.0, 6, 6, 12]], 1 / 3
    records = [
        ("gone.png", fields("2", box)),
        ("good.png", fields("12", [[third, -2.5, 6.1, 12], [9, 6, 6, 900]])),
        ("boxless.png", {}),
        ("good.png", fields("4", box)),
        ("torn.png", fields("3", box)),
        ("boxless.png", fields("5", box)),
        ("last.png", {}),
    ]
    names = ("stranger.png", "boxless.png", "good.png", "last.png")
    files = {name: png() for name in names} | {"torn.png": png(size=(300, 200))[:-40]}
    members = {f"train/{name}": content for name, content in files.items()} | {
        "train/link.png": "/etc/hostname"
    }
    tar_gz(tmp_path / "raw/train.tar.gz", members | {f"train/{MAT}": mat_bytes(tmp_path, records)})
    builder = prepare(tmp_path / "raw", tmp_path / "tfds")
    left_out = builder.info.metadata["left_out"]["train"]
    assert [
        (entry["position"], entry["name"], entry["reason"]) for entry in left_out["records"]
    ] == [
        (2, "boxless.png", "no box: its bbox has no field label"),
        (3, "good.png", "a second record of that name"),
        (6, "last.png", "no box: its bbox has no field label"),
    ]
    assert {(entry["name"], entry["reason"].split(" (")[0]) for entry in left_out["photos"]} == {
        ("stranger.png", "no record of that name"),
        ("link.png", "not a regular file"),
        ("torn.png", "damaged image"),
        ("gone.png", "no such photo"),
    }
    assert [example["name"] for example in builder.as_data_source("train")] == [
        b"good.png",
        b"boxless.png",
    ]
    archive, prepared = (
        find_source(tmp_path / "raw", "train"),
        TfdsSource(tmp_path / "tfds", "train"),
    )
    assert plain(prepared.records()) == plain(archive.records())
    assert {photo.name: photo.content for photo in prepared.photos() if not photo.problem} == {
        name: files[name] for name in ("good.png", "boxless.png")
    }
    told = {(photo.name, photo.problem) for photo in prepared.photos() if photo.problem}
    assert told == {(entry["name"], entry["reason"]) for entry in left_out["photos"]}


def test_a_second_photo_of_a_name_is_left_out_and_named(tmp_path):
    files = split_files(tmp_path, ["7"])
    members = {"train/1.png": files["1.png"], "./train/1.png": png(), f"train/{MAT}": files[MAT]}
    tar_gz(tmp_path / "raw" / "train.tar.gz", members)
    left_out = prepare(tmp_path / "raw", tmp_path / "tfds").info.metadata["left_out"]["train"]
    assert left_out == {
        "records": [],
        "photos": [{"name": "1.png", "reason": "a second photo of that name"}],
    }
    assert next(TfdsSource(tmp_path / "tfds", "train").photos()).content == files["1.png"]


def test_the_fingerprint_is_of_the_content(made, copy, tmp_path):
    fingerprint = TfdsSource(made / "tfds", "train").fingerprint()
    arguments = ("--raw", made / "raw", "--data-dir", tmp_path / "again")
    assert (
        run_python("-m", "svhn_jax.data.svhn_full", *arguments).returncode == 0
    )  # shards of other bytes
    code = (
        "import sys, pathlib, svhn_jax.data.sources.tfds as source\n"
        "print(source.TfdsSource(pathlib.Path(sys.argv[1]), 'train').fingerprint())"
    )
    assert run_python("-c", code, tmp_path / "again").stdout.split() == [fingerprint]
    left_out = {"train": {"records": [{"name": "x.png", "reason": "no box"}], "photos": []}}
    (copy / VERSION / "metadata.json").write_text(json.dumps({"left_out": left_out}))
    assert TfdsSource(copy, "train").fingerprint() != fingerprint
    other = [*TRAIN[:-1], "601"]
    write_split(tmp_path / "raw", "train", split_files(tmp_path, other))
    prepare(tmp_path / "raw", tmp_path / "other")
    assert TfdsSource(tmp_path / "other", "train").fingerprint() != fingerprint
    assert TfdsSource(made / "tfds", "test").fingerprint() != fingerprint


def test_the_stamp_changes_with_the_files(copy):
    before = TfdsSource(copy, "train").stamp()
    assert TfdsSource(copy, "train").stamp() == before
    os.utime(copy / VERSION / "svhn_full-test.array_record-00000-of-00001", (1, 1))
    assert TfdsSource(copy, "train").stamp() != before


def test_preparing_and_reading_need_no_tensorflow_and_reading_none_of_our_code(made, tmp_path):
    code = f"""{WITHOUT.format("tensorflow")}
import svhn_jax.data.svhn_full
import tensorflow_datasets as tfds
manual = tfds.download.DownloadConfig(manual_dir={str(made / "raw")!r})
source = tfds.data_source(
    "svhn_full", split="train", data_dir={str(tmp_path)!r}, download_and_prepare_kwargs=dict(download_config=manual)
)
print([example["number"].decode() for example in source], "tensorflow" in sys.modules, "jax" in sys.modules)
"""
    finished = run_python("-W", "error", "-c", code)
    assert finished.stdout.splitlines()[-1:] == [f"{TRAIN} False False"], finished.stderr
    code = f"""{WITHOUT.format("tensorflow")}
import tensorflow_datasets as tfds
source = tfds.data_source("svhn_full", split="test", data_dir={str(tmp_path)!r})
print([example["number"].decode() for example in source], "svhn_jax" in sys.modules)
"""
    assert run_python("-c", code).stdout.splitlines()[-1:] == [f"{TEST} False"]


def test_without_tensorflow_datasets_all_but_this_works_and_this_says_what_to_install(made):
    code = f"""{WITHOUT.format("tensorflow_datasets")}
import svhn_jax.training.run, svhn_jax.preprocess, svhn_jax.data.svhn_full, svhn_jax.data.sources.tfds
from pathlib import Path
from svhn_jax.errors import run_command
run_command(lambda: svhn_jax.data.sources.tfds.TfdsSource(Path({str(made / "tfds")!r}), "train"))
"""
    finished = run_python("-c", code)
    assert_one_error_line(finished)
    assert (
        "tensorflow_datasets is not installed; pip install tensorflow-datasets" in finished.stderr
    )
    command = f"""{WITHOUT.format("tensorflow_datasets")}
import runpy
sys.argv = ["svhn_full", "--raw", "x", "--data-dir", "y"]
runpy.run_module("svhn_jax.data.svhn_full", run_name="__main__")
"""
    assert_one_error_line(run_python("-c", command))


def test_the_command_prepares_once_and_tells_what_is_there(tmp_path):
    arguments = (
        "-m",
        "svhn_jax.data.svhn_full",
        "--raw",
        tmp_path / "raw",
        "--data-dir",
        tmp_path / "tfds",
    )
    missing = run_python(*arguments)
    assert_one_error_line(missing)
    assert "no such folder; give the folder with the photos" in missing.stderr
    files = split_files(tmp_path, TRAIN)
    del files["12.png"]
    write_split(tmp_path / "raw", "train", files)
    first, second = run_python(*arguments), run_python(*arguments)
    for finished in (first, second):
        assert (finished.returncode, finished.stderr) == (0, "")
        assert finished.stdout.endswith("train: 11 photos\n  skipped: 1 x no such photo: 12.png\n")
    assert "prepared to" in first.stdout
    assert "prepared to" not in second.stdout
    write_split(tmp_path / "raw", "test", split_files(tmp_path, TEST))
    third = run_python(*arguments)
    assert_one_error_line(third)
    assert (
        "1.0.0: was prepared without test; delete that folder, then run the same command again"
        in third.stderr
    )


def test_a_damaged_archive_or_one_of_no_use_leaves_no_data_set(tmp_path):
    raw, data_dir = tmp_path / "raw", tmp_path / "tfds"
    arguments = ("-m", "svhn_jax.data.svhn_full", "--raw", raw, "--data-dir", data_dir)
    write_split(raw, "train", split_files(tmp_path, TRAIN))
    whole = (raw / "train.tar.gz").read_bytes()
    (raw / "train.tar.gz").write_bytes(whole[:-400])
    damaged = run_python(*arguments)
    assert_one_error_line(damaged)
    assert "damaged or cut short" in damaged.stderr
    write_split(
        raw,
        "train",
        {"2.png": png(), MAT: mat_bytes(tmp_path, [("1.png", fields("2", [[4.0, 6, 6, 12]]))])},
    )
    useless = run_python(*arguments)
    assert_one_error_line(useless)
    assert "no photo can be used; the first, 2.png: no record of that name" in useless.stderr
    assert not [path for path in data_dir.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "damage", ["flipped bit", "cut short", "lost", "dataset_info", "features", "metadata"]
)
def test_a_damaged_data_set_is_one_line_with_the_command_that_makes_it(copy, damage):
    shard = copy / VERSION / "svhn_full-train.array_record-00000-of-00001"
    content = bytearray(shard.read_bytes())
    if damage == "flipped bit":
        content[300] ^= 1
        shard.write_bytes(content)
    elif damage == "cut short":
        shard.write_bytes(content[:70_000])
    elif damage == "lost":
        shard.unlink()
    else:
        (copy / VERSION / f"{damage}.json").write_text("{")
    told = rf"{VERSION}: damaged \(.*\); delete it, then make it with python -m svhn_jax\.data\.svhn_full --raw"
    for read in (TfdsSource.records, TfdsSource.fingerprint, lambda source: list(source.photos())):
        with pytest.raises(InputError, match=told):
            read(TfdsSource(copy, "train"))


def test_what_is_not_there_or_of_another_kind_is_told(copy):
    with pytest.raises(
        InputError,
        match=r"no prepared data set there; make it with python -m svhn_jax\.data\.svhn_f",
    ):
        TfdsSource(copy / "elsewhere", "train")
    with pytest.raises(InputError, match=r"has no split 'extra'; its splits: train, test$"):
        TfdsSource(copy, "extra")
    with pytest.raises(
        InputError,
        match=r"svhn_cropped/3\.1\.0: no prepared data set there; make it in Python with",
    ):
        CroppedDigits(copy, "train")
    (copy / "svhn_cropped").mkdir()
    shutil.copytree(copy / VERSION, copy / "svhn_cropped" / "3.1.0")
    with pytest.raises(
        InputError, match=r"a data set of another kind, with (\w+, ){3}\w+; make it in"
    ):
        CroppedDigits(copy, "train")
    info = copy / VERSION / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(
        InputError,
        match="written as tfrecord, which only TensorFlow reads; delete it, then make it",
    ):
        TfdsSource(copy, "train")


def test_all_sources_are_those_of_the_splits_that_are_there(made, tmp_path):
    sources = tfds_source.find_all(TfdsSource, made / "tfds")
    assert [(type(source), source.split) for source in sources] == [
        (TfdsSource, "train"),
        (TfdsSource, "test"),
    ]
    assert [
        source.split for source in tfds_source.find_all(TfdsSource, made / "tfds", ["test"])
    ] == ["test"]
    with pytest.raises(InputError, match="has no split 'extra'"):
        tfds_source.find_all(TfdsSource, made / "tfds", ["test", "extra"])
    write_split(tmp_path / "raw", "test", split_files(tmp_path, TEST))
    prepare(tmp_path / "raw", tmp_path)
    assert [source.split for source in tfds_source.find_all(TfdsSource, tmp_path)] == ["test"]


def test_photos_with_one_box_for_the_whole_number_are_refused(tmp_path):
    write_split(
        tmp_path,
        "train",
        {"1.png": png(), "labels.csv": b"file,label\n1.png,31\n"},
        as_archive=False,
    )
    with pytest.raises(InputError, match=r"1\.png does not have one box for each digit"):
        prepare(tmp_path, tmp_path / "tfds")


def test_the_checksums_are_the_published_ones():
    infos = svhn_full.Builder.url_infos
    assert {url: (int(info.size), info.checksum, info.filename) for url, info in infos.items()} == {
        f"{published.BASE_URL}/{split}.tar.gz": (archive.bytes, archive.sha256, f"{split}.tar.gz")
        for split, archive in published.ARCHIVES.items()
    }


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves tmp_path/site, on this machine, in the place of the published archives; yields its checksums."""
    handler = type(
        "Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}
    )
    for split in published.ARCHIVES:
        write_split(tmp_path / "site", split, split_files(tmp_path, TEST))
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=tmp_path / "site")
    ) as it:
        threading.Thread(target=it.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{it.server_port}"
        infos = {
            f"{url}/{split}.tar.gz": tfds.download.checksums.compute_url_info(
                tmp_path / "site" / f"{split}.tar.gz"
            )
            for split in published.ARCHIVES
        }
        monkeypatch.setattr(svhn_full, "BASE_URL", url)
        monkeypatch.setattr(svhn_full.Builder, "url_infos", infos)
        yield infos
        it.shutdown()


def test_without_a_manual_folder_the_archives_are_downloaded_and_checked(server, tmp_path):
    builder = svhn_full.Builder(data_dir=tmp_path / "tfds")
    builder.download_and_prepare()
    assert {
        split: info.num_examples for split, info in builder.info.splits.items()
    } == dict.fromkeys(("train", "test", "extra"), len(TEST))
    assert [record.digits for record in TfdsSource(tmp_path / "tfds", "extra").records()] == [
        (1, 9),
        (8,),
    ]
    url = next(iter(server))
    server[url] = dataclasses.replace(server[url], checksum="0" * 64)
    with pytest.raises(Exception, match="wrong checksum"):
        svhn_full.Builder(data_dir=tmp_path / "other").download_and_prepare()


class SvhnCropped(tfds.core.ShardBasedBuilder, skip_registration=True):
    """TFDS's svhn_cropped with digits of our own; TFDS's own builder needs TensorFlow to encode its photos."""

    name = "svhn_cropped"
    VERSION = tfds.core.Version("3.1.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(num_classes=10),
            "id": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _shard_iterators_per_split(self, dl_manager):
        def examples():
            for i, pixels in enumerate(cropped_pixels()):
                stream = io.BytesIO()
                Image.fromarray(pixels).save(stream, "PNG")
                yield i, {"image": stream.getvalue(), "label": i, "id": f"train_{i:06d}"}

        return {"train": [examples]}


def cropped_pixels():
    return np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)


def test_cropped_digits_are_numbers_of_one_digit_that_fill_the_crop(tmp_path):
    SvhnCropped(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    stock = tfds.builder_cls("svhn_cropped")(
        data_dir=tmp_path
    )  # TFDS's own builder takes the data set for its own
    assert stock.info.splits["train"].num_examples == 10
    assert set(stock.info.features) == {"id", "image", "label"}
    source = CroppedDigits(tmp_path, "train")
    records, photos = source.records(), list(source.photos())
    assert [record.name for record in records] == [photo.name for photo in photos]
    assert [(record.name, record.digits) for record in records] == [
        (f"train_{i:06d}.png", (i,)) for i in range(10)
    ]
    for record, photo, pixels in zip(records, photos, cropped_pixels(), strict=True):
        image = decode_photo(photo.content)
        np.testing.assert_array_equal(np.asarray(image), pixels)
        for margin in (0, 0.3):
            cropped = crop.crop_number(image, crop.union(record.boxes), margin=margin, size=32)
            np.testing.assert_array_equal(cropped, pixels)
    assert source.fingerprint() == CroppedDigits(tmp_path, "train").fingerprint()
