"""Real SVHN photos against the published annotations; skipped where they are not at hand."""

import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from archives import REPOSITORY

from svhn_jax import cli, labels, preprocess
from svhn_jax.data import arrays
from svhn_jax.data.sources.find import find_source
from svhn_jax.data.svhn_full import Builder

REAL = Path(os.environ.get("SVHN_REAL", REPOSITORY.parent / "shared" / "real"))
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"no real SVHN photos at {REAL}; SVHN_REAL names their folder"
)


def published(split):
    with gzip.open(REAL / "annotations" / f"{split}.jsonl.gz", "rt") as lines:
        return {entry["name"]: entry for entry in map(json.loads, lines)}


@pytest.mark.parametrize(("split", "count"), [("train", 2000), ("test", 500)])
def test_every_record_has_the_published_label_and_boxes(split, count):
    expected = published(split)
    records = find_source(REAL / "format1", split).records()
    assert [record.name for record in records] == [f"{i}.png" for i in range(1, count + 1)]
    for record in records:
        entry = expected[record.name]
        assert "".join(map(str, record.digits)) == entry["label"], record.name
        assert record.boxes.tolist() == entry["boxes"], record.name


def prepared(raw, to, *options):
    """The .npy files that preprocess makes, by name."""
    arguments = [str(one) for one in ("--raw", raw, "--to", to, *options)]
    assert cli.call(preprocess.Options, preprocess.main, arguments) == 0
    return {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*.npy")}


def test_all_photos_are_kept_with_the_published_label(tmp_path):
    prepared(REAL / "format1", tmp_path / "set")
    sources = json.loads((tmp_path / "set" / "manifest.json").read_text())["sources"]
    counts = {split: (source["kept"], source["skipped"]) for split, source in sources.items()}
    assert counts == {"train": (2000, []), "test": (500, [])}
    expected = {split: published(split) for split in sources}
    seen = 0
    for split in arrays.SPLITS:
        _, targets, names, *_ = arrays.load_split(tmp_path / "set", split)
        for label, name in zip(targets, names, strict=True):
            source, file = name.decode().split("/")
            assert labels.decode(label) == expected[source][file]["label"], name
            seen += 1
    assert seen == 2500


def test_archive_folder_and_tfds_give_identical_arrays(tmp_path):
    for split in ("train", "test"):
        with tarfile.open(REAL / "format1" / f"{split}.tar.gz") as archive:
            archive.extractall(tmp_path / "folders", filter="data")
    config = tfds.download.DownloadConfig(manual_dir=REAL / "format1")
    Builder(data_dir=tmp_path / "tfds").download_and_prepare(download_config=config)
    from_archives = prepared(REAL / "format1", tmp_path / "a")
    assert len(from_archives) == 15
    assert prepared(tmp_path / "folders", tmp_path / "b") == from_archives
    assert prepared(tmp_path / "tfds", tmp_path / "c", "--source", "tfds") == from_archives
