"""The data set on disk: written rows load, damage is named, replacing is all or nothing."""

import json

import numpy as np
import pytest
from archives import contents

from svhn_jax.data import arrays, writing
from svhn_jax.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
LABELS = np.array([[1, d, 10, 10, 10, 10] for d in range(4)] + [[2, 4, 4, 10, 10, 10]], np.int32)


def write_set(folder, rows=(4, 1, 3)):
    """A split of these rows."""
    folder.mkdir(parents=True)
    abouts = [
        writing.Row(f"train/{row}.png", LABELS[row], (float(row), 2.0, 3.0, 4.0), (40, 24))
        for row in rows
    ]
    images = [IMAGES[row].tobytes() for row in rows]
    entry = writing.write_split(folder / "train", images, abouts, size=8, max_digits=5)
    crop = {"size": 8, "margin": 0.3}
    manifest = {"format": 2, "crop": crop, "splits": {"train": entry}, "sources": {}}
    writing.write_manifest(folder, manifest)
    return folder


@pytest.fixture
def made(tmp_path):
    return write_set(tmp_path / "set")


def change_manifest(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_rows_written_are_the_rows_loaded(made):
    split = arrays.load_split(made, "train")
    np.testing.assert_array_equal(split.images, IMAGES[[4, 1, 3]])
    np.testing.assert_array_equal(split.labels, LABELS[[4, 1, 3]])
    assert split.names.tolist() == [b"train/4.png", b"train/1.png", b"train/3.png"]
    assert (split.labels.dtype, split.max_digits) == (np.int32, 5)
    assert isinstance(split.images, np.memmap)
    assert not split.images.flags.writeable
    boxes, sizes = arrays.load_geometry(made, "train")
    assert boxes.tolist() == [[4, 2, 3, 4], [1, 2, 3, 4], [3, 2, 3, 4]]
    assert sizes.tolist() == [[40, 24]] * 3
    entry = arrays.read_manifest(made)["splits"]["train"]
    assert (entry["examples"], entry["lengths"]) == (3, {"1": 2, "2": 1})


def test_a_split_of_no_rows_loads(tmp_path):
    split = arrays.load_split(write_set(tmp_path / "set", rows=()), "train")
    assert [one.shape for one in split[:3]] == [(0, 8, 8, 3), (0, 6), (0,)]


def test_equal_arrays_have_equal_fingerprints_and_others_not(tmp_path):
    rows = {"a": (0, 1), "b": (0, 1), "c": (1, 0)}
    sets = [write_set(tmp_path / name, chosen) for name, chosen in rows.items()]
    prints = [arrays.load_split(one, "train").fingerprint for one in sets]
    assert prints[0] == prints[1] != prints[2]


def test_a_manifest_without_max_digits_has_labels_of_five_and_others_must_agree(made):
    assert arrays.read_manifest(made)["max_digits"] == 5
    change_manifest(made, lambda manifest: manifest.update(max_digits=8))
    with pytest.raises(InputError, match=r"labels\.npy"):
        arrays.load_split(made, "train")


def test_a_missing_set_or_split_is_named_with_a_remedy(made, tmp_path):
    with pytest.raises(InputError, match=r"svhn_jax\.preprocess"):
        arrays.load_split(tmp_path, "train")
    with pytest.raises(InputError, match="'test'; its splits: train"):
        arrays.load_split(made, "test")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "\x00\x01", '{"format": 1, "splits": {}}', '{"format": 2, "splits": null}'],
)
def test_a_damaged_manifest_is_named(made, text):
    (made / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        arrays.load_split(made, "train")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop", {"size": 2**31, "margin": 0.3}),
        ("splits", {"..": {"examples": 0, "lengths": {}, "sha256": {}}}),
        ("splits", {"train": {"examples": 0, "lengths": {}, "sha256": {"..": ""}}}),
    ],
)
def test_a_manifest_of_other_files_or_of_a_giant_crop_is_refused(made, field, value):
    change_manifest(made, lambda manifest: manifest.update({field: value}))
    with pytest.raises(InputError, match=f"^{made}/manifest.json: damaged"):
        arrays.read_manifest(made)


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "header": lambda path: path.write_bytes(
        path.read_bytes().replace(b"'descr': '", b"'descr':  ")
    ),
    "one row less": lambda path: np.save(path, np.load(path)[:-1]),
    "another type": lambda path: np.save(path, np.zeros(np.load(path).shape)),
}


@pytest.mark.parametrize("array", ["images", "labels", "names"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_array_is_named(made, array, damage):
    path = made / "train" / f"{array}.npy"
    damage(path)
    with pytest.raises(InputError, match=f"^{path}: "):
        arrays.load_split(made, "train")


def test_changed_bytes_are_found_by_their_checksum(made):
    assert arrays.damaged_arrays(made) == []
    path = made / "train" / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (made / "train" / "sizes.npy").unlink()
    assert arrays.damaged_arrays(made) == ["train/images.npy", "train/sizes.npy"]


def build(folder, text, error=None):
    with writing.building(folder) as unfinished:
        (unfinished / "file").write_text(text)
        if error:
            raise error


def test_a_block_that_ends_well_replaces_the_folder_whole(tmp_path):
    folder = tmp_path / "deep" / "set"
    (tmp_path / "deep" / ".set.partial" / "train").mkdir(parents=True)  # of a killed process
    build(folder, "first")
    (folder / "stale").write_text("of the first")
    with writing.building(folder) as unfinished:
        (unfinished / "file").write_text("second")
        assert contents(folder) == {"file": b"first", "stale": b"of the first"}
    assert contents(folder.parent) == {"set/file": b"second"}


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt(), OSError(28, "full")])
def test_after_an_error_the_old_folder_is_left_and_nothing_else(tmp_path, error):
    build(tmp_path / "set", "old")
    with pytest.raises(type(error)):
        build(tmp_path / "set", "half", error)
    assert contents(tmp_path) == {"set/file": b"old"}


def test_a_link_to_a_folder_elsewhere_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "elsewhere")
    build(tmp_path / "set", "new")
    assert (tmp_path / "set").is_symlink()
    assert contents(tmp_path / "elsewhere") == {"file": b"new"}
