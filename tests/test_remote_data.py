import json

import numpy as np
import pytest
from etils import epath

from svhn_jax import remote_data
from svhn_jax.data import arrays
from svhn_jax.errors import InputError


@pytest.fixture
def there(tmp_path):
    """A prepared data set where a bucket would be."""
    folder = tmp_path / "bucket" / "set"
    folder.parent.mkdir()
    with arrays.building(folder) as partial:
        (partial / "train").mkdir()
        offset = arrays.create_images(partial / "train" / "images.npy", 3, 8)
        with open(partial / "train" / "images.npy", "r+b") as file:
            file.seek(offset)
            file.write(bytes(range(192)) * 3)
        labels = np.array([[1, 5, 10, 10, 10, 10]] * 3, np.int32)
        entry = arrays.finish_split(
            partial / "train", labels, ["a", "b", "c"], np.ones((3, 4)), np.full((3, 2), 8, np.int32)
        )
        manifest = {
            "format": arrays.FORMAT,
            "crop": {"size": 8, "margin": 0.3},
            "splits": {"train": entry},
            "sources": {},
        }
        (partial / arrays.MANIFEST).write_text(json.dumps(manifest))
    return epath.Path(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return remote_data.cache()


def test_a_set_is_copied_once_whole_and_anew_where_it_has_changed(there, cache):
    copy = remote_data.copy_of(there)
    np.testing.assert_array_equal(arrays.load_split(copy, "train").images, arrays.load_split(there, "train").images)
    before = (copy / "train" / "images.npy").stat().st_mtime_ns
    assert remote_data.copy_of(there) == copy
    assert (copy / "train" / "images.npy").stat().st_mtime_ns == before
    manifest = json.loads((there / arrays.MANIFEST).read_text())
    (there / arrays.MANIFEST).write_text(json.dumps(manifest | {"seed": 1}))
    assert remote_data.copy_of(there) != copy
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2


def test_what_arrives_changed_is_named_and_not_kept(there, cache):
    content = bytearray((there / "train" / "labels.npy").read_bytes())
    content[-1] ^= 1
    (there / "train" / "labels.npy").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"bucket/set: train/labels.npy are not what the manifest says"):
        remote_data.copy_of(there)
    assert not any(path.is_dir() for path in cache.iterdir())


def test_a_place_without_a_set_is_named(tmp_path):
    with pytest.raises(InputError, match=r"empty: no prepared data set there"):
        remote_data.copy_of(epath.Path(tmp_path / "empty"))


def test_a_manifest_whose_splits_lead_elsewhere_is_refused(there, cache):
    manifest = json.loads((there / arrays.MANIFEST).read_text())
    manifest["splits"]["../../elsewhere"] = manifest["splits"]["train"]
    (there / arrays.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest.json: .*elsewhere"):
        remote_data.copy_of(there)
    assert not any(path.is_dir() for path in cache.iterdir())


def test_a_local_folder_is_left_where_it_is():
    assert remote_data.local("data/full") == "data/full"
