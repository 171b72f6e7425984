import json

import numpy as np
import pytest
from etils import epath

from svhn_jax.data import arrays, remote, writing
from svhn_jax.errors import InputError


@pytest.fixture
def there(tmp_path):
    """A prepared data set where a bucket would be."""
    folder = tmp_path / "bucket" / "set"
    folder.mkdir(parents=True)
    label, box = np.array([1, 5, 10, 10, 10, 10]), (1.0, 1.0, 1.0, 1.0)
    rows = [writing.Row(name, label, box, (8, 8)) for name in "abc"]
    entry = writing.write_split(folder / "train", [bytes(192)] * 3, rows, size=8, max_digits=5)
    crop = {"size": 8, "margin": 0.3}
    manifest = {"format": 2, "crop": crop, "splits": {"train": entry}, "sources": {}}
    writing.write_manifest(folder, manifest)
    return epath.Path(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "svhn_jax"


def test_a_set_is_copied_once_and_anew_if_it_has_changed(there, cache):
    copy = remote.copy_of(there)
    ours, theirs = arrays.load_split(copy, "train"), arrays.load_split(there, "train")
    np.testing.assert_array_equal(ours.images, theirs.images)
    before = copy.stat().st_ino
    assert remote.copy_of(there).stat().st_ino == before
    manifest = json.loads((there / arrays.MANIFEST).read_text())
    (there / arrays.MANIFEST).write_text(json.dumps(manifest | {"seed": 1}))
    assert remote.copy_of(there).stat().st_ino != before
    assert [path.name for path in (cache / "buckets").iterdir()] == [copy.name]


def test_a_changed_array_is_named_and_nothing_kept(there, cache):
    content = bytearray((there / "train" / "labels.npy").read_bytes())
    content[-1] ^= 1
    (there / "train" / "labels.npy").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"bucket/set: train/labels\.npy"):
        remote.copy_of(there)
    assert list((cache / "buckets").iterdir()) == []


def test_a_place_without_a_set_is_named(tmp_path):
    with pytest.raises(InputError, match=r"empty: no prepared data set there"):
        remote.copy_of(epath.Path(tmp_path / "empty"))


def test_a_manifest_whose_arrays_lead_elsewhere_writes_nothing_there(there, cache, tmp_path):
    manifest = json.loads((there / arrays.MANIFEST).read_text())
    manifest["splits"]["train"]["sha256"]["../../payload"] = "0" * 64
    (there / arrays.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest.json: damaged"):
        remote.copy_of(there)
    assert list((cache / "buckets").iterdir()) == []


def test_a_local_folder_is_left_where_it_is():
    assert remote.local("data/full") == "data/full"
