"""The prepared data set on disk: what is written loads, what is damaged is named, replacing is all or nothing."""

import json
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
from archives import contents

from svhn_jax.data import arrays, writing
from svhn_jax.errors import InputError, UnfinishedError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
LABELS = np.array([[1, d, 10, 10, 10, 10] for d in range(4)] + [[2, 4, 4, 10, 10, 10]], np.int32)
BOXES = np.arange(20.0).reshape(5, 4)
NAMES = [f"train/{i}.png" for i in range(8, 13)]


def write_set(folder, rows=(4, 1, 3)):
    folder.mkdir(parents=True)
    kept = list(rows)
    (folder / "train").mkdir()
    offset = writing.create_images(folder / "train" / "images.npy", len(kept) + 1, 8)
    with open(folder / "train" / "images.npy", "r+b") as file:
        file.seek(offset)
        file.write(IMAGES[kept[:1]].tobytes() + bytes(8 * 8 * 3) + IMAGES[kept[1:]].tobytes())
    kept[1:1] = [0]  # a row that stays empty: its photo could not be used
    sizes = np.array([(40, 24)] * len(kept))
    sizes[min(1, len(kept) - 1)] = 0
    entry = writing.finish_split(
        folder / "train", LABELS[kept], [NAMES[row] for row in kept], BOXES[kept], sizes
    )
    manifest = {
        "format": 2,
        "crop": {"size": 8, "margin": 0.3},
        "splits": {"train": entry},
        "sources": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return entry


def test_the_rows_written_are_the_rows_loaded_in_their_order(tmp_path):
    entry = write_set(tmp_path / "set")
    split = arrays.load_split(tmp_path / "set", "train")
    np.testing.assert_array_equal(split.images, IMAGES[[4, 1, 3]])
    assert split.labels.tolist() == [
        [2, 4, 4, 10, 10, 10],
        [1, 1, 10, 10, 10, 10],
        [1, 3, 10, 10, 10, 10],
    ]
    assert split.names.tolist() == [b"train/12.png", b"train/9.png", b"train/11.png"]
    assert split.labels.dtype == np.int32
    assert isinstance(split.images, np.memmap)
    assert not split.images.flags.writeable
    assert entry["examples"] == 3
    assert entry["lengths"] == {"1": 2, "2": 1}


def test_a_split_of_no_rows_loads(tmp_path):
    write_set(tmp_path / "set", rows=())
    split = arrays.load_split(tmp_path / "set", "train")
    assert (split.images.shape, split.labels.shape, split.names.shape) == (
        (0, 8, 8, 3),
        (0, 6),
        (0,),
    )


def test_a_manifest_without_max_digits_has_labels_of_five_and_others_must_agree(tmp_path):
    write_set(tmp_path / "set")
    assert arrays.read_manifest(tmp_path / "set")["max_digits"] == 5
    assert arrays.load_split(tmp_path / "set", "train").max_digits == 5
    assert arrays.is_sound(tmp_path / "set", {"max_digits": 5})
    path = tmp_path / "set" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_digits": 8}))
    with pytest.raises(
        InputError, match=r"labels\.npy: int32\(3, 6\) where the manifest says \(3, 9\)"
    ):
        arrays.load_split(tmp_path / "set", "train")


def test_a_length_beyond_more_than_max_digits_is_damage(tmp_path):
    write_set(tmp_path / "set")
    for length, is_sound in ((6, True), (7, False)):
        np.save(
            tmp_path / "set" / "train" / "labels.npy",
            np.array([[length, 1, 2, 3, 4, 5]] * 3, np.int32),
        )
        with (
            nullcontext()
            if is_sound
            else pytest.raises(InputError, match=r"damaged \(impossible labels\)")
        ):
            arrays.load_split(tmp_path / "set", "train")


def test_equal_arrays_have_equal_fingerprints_and_others_not(tmp_path):
    prints = []
    for name, rows in (("a", (0, 1)), ("b", (0, 1)), ("c", (1, 0))):
        write_set(tmp_path / name, rows)
        prints.append(arrays.load_split(tmp_path / name, "train").fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_missing_set_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(
        InputError, match=rf"{tmp_path}: no prepared data set there; .*svhn_jax\.preprocess"
    ):
        arrays.load_split(tmp_path, "train")


def test_an_absent_split_is_answered_with_those_there(tmp_path):
    write_set(tmp_path / "set")
    with pytest.raises(InputError, match="has no split 'test'; its splits: train"):
        arrays.load_split(tmp_path / "set", "test")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 1, "splits": {}}',
        '{"format": 2, "splits": {"train": {}}}',
        '{"format": 2, "splits": {"train": {"examples": 3, "sha256": {}}}}',
        "\x00\x01",
        '{"format": 2, "splits": null}',
        '{"format": 2, "crop": {"size": 8, "margin": 0.3}, "splits": {}}',
        '{"format": 2, "crop": {"size": "8", "margin": 0.3}, "splits": {}, "sources": {}}',
        '{"format": 2, "crop": {"size": 8, "margin": 0.3}, "splits": {}, "sources": {"train": {"skipped": [3]}}}',
    ],
)
def test_a_damaged_manifest_is_one_line_that_names_it(tmp_path, text):
    write_set(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="preprocess again") as caught:
        arrays.load_split(tmp_path / "set", "train")
    assert str(tmp_path / "set" / "manifest.json") in str(caught.value)
    assert "\n" not in str(caught.value)


HOSTILE = {
    "negative examples": lambda m: m["splits"]["train"].update(examples=-1),
    "examples of a flag": lambda m: m["splits"]["train"].update(examples=True),
    "too many examples": lambda m: m["splits"]["train"].update(examples=10**300),
    "negative lengths": lambda m: m["splits"]["train"]["lengths"].update({"1": -1}),
    "another array": lambda m: m["splits"]["train"]["sha256"].update({"../../payload": "0" * 64}),
    "an absolute path": lambda m: m["splits"]["train"]["sha256"].update({"/tmp/payload": "0" * 64}),
    "no checksum": lambda m: m["splits"]["train"]["sha256"].update(images=""),
    "a giant crop": lambda m: m["crop"].update(size=2**31),
    "a crop of nothing": lambda m: m["crop"].update(size=0),
    "more digits than there may be": lambda m: m.update(max_digits=21),
    "labels without a digit": lambda m: m.update(max_digits=0),
    "digits of a flag": lambda m: m.update(max_digits=True),
    "margin nan": lambda m: m["crop"].update(margin=float("nan")),
    "margin inf": lambda m: m["crop"].update(margin=float("inf")),
    "margin below 0": lambda m: m["crop"].update(margin=-0.3),
    "another split": lambda m: m["splits"].update({"../train": m["splits"]["train"]}),
    "a source for the terminal": lambda m: m.update(sources={"\x1b[2J": SOURCE}),
    "a path for the terminal": lambda m: m.update(sources={"train": SOURCE | {"path": "\x1b[2J"}}),
    "a note for the terminal": lambda m: m.update(
        sources={"train": SOURCE | {"noted": {"\x1b[2J": 1}}}
    ),
    "a reason for the terminal": lambda m: m.update(
        sources={"train": SOURCE | {"skipped": [{"name": "a", "reason": "\x1b[2J"}]}}
    ),
    "a skipped record of more fields": lambda m: m.update(
        sources={"train": SOURCE | {"skipped": [{"name": "a", "reason": "b", "more": 1}]}}
    ),
    "kept below 0": lambda m: m.update(sources={"train": SOURCE | {"kept": -1}}),
}
SOURCE = {
    "path": "train",
    "kept": 3,
    "skipped": [{"name": "a", "reason": "b", "line": 3}],
    "noted": {},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_manifest_is_one_line_that_names_it(tmp_path, change):
    write_set(tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    manifest = json.loads(path.read_text()) | {"sources": {"train": SOURCE}}
    path.write_text(json.dumps(manifest))
    arrays.read_manifest(tmp_path / "set")
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"^{path}: damaged") as caught:
        arrays.read_manifest(tmp_path / "set")
    assert str(caught.value).isprintable()


def test_a_giant_manifest_is_not_read(tmp_path):
    write_set(tmp_path / "set")
    with open(tmp_path / "set" / "manifest.json", "a") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="more than 67108864 bytes"):
        arrays.read_manifest(tmp_path / "set")


@pytest.mark.parametrize(
    "names",
    [["a\x1b[2J", "b", "c"], [b"\xff", b"b", b"c"], [1.0, 2.0, 3.0], ["x" * 5000, "b", "c"]],
)
def test_names_that_are_no_texts_for_people_are_refused(tmp_path, names):
    write_set(tmp_path / "set")
    made = np.array(names)
    np.save(
        tmp_path / "set" / "train" / "names.npy",
        np.char.encode(made) if made.dtype.kind == "U" else made,
    )
    with pytest.raises(InputError, match=r"names\.npy: damaged"):
        arrays.load_split(tmp_path / "set", "train")


@pytest.mark.parametrize(
    ("name", "value"),
    [("boxes", np.nan), ("boxes", np.inf), ("boxes", -1), ("sizes", 0), ("sizes", -5)],
)
def test_boxes_and_sizes_that_cannot_be_are_refused(tmp_path, name, value):
    write_set(tmp_path / "set")
    path = tmp_path / "set" / "train" / f"{name}.npy"
    np.save(path, np.full_like(np.load(path), value))
    with pytest.raises(InputError, match="impossible boxes or sizes"):
        arrays.load_geometry(tmp_path / "set", "train")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def break_header(path):
    path.write_bytes(path.read_bytes().replace(b"'descr': '", b"'descr':  ", 1))


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": cut,
    "junk": lambda path: path.write_bytes(b"junk" * 100),
    "one row less": lambda path: np.save(path, np.load(path)[:-1]),
}


@pytest.mark.parametrize("array", ["images", "labels", "names"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_array_is_one_line_that_names_it(tmp_path, array, damage):
    write_set(tmp_path / "set")
    path = tmp_path / "set" / "train" / f"{array}.npy"
    damage(path)
    with pytest.raises(InputError, match="preprocess again") as caught:
        arrays.load_split(tmp_path / "set", "train")
    assert str(caught.value).startswith(f"{path}: ")


def test_a_header_without_its_closing_quote_is_named_too(tmp_path):
    write_set(tmp_path / "set")
    break_header(tmp_path / "set" / "train" / "images.npy")
    with pytest.raises(InputError, match="preprocess again"):
        arrays.load_split(tmp_path / "set", "train")


@pytest.mark.parametrize(("array", "dtype"), [("images", np.int8), ("labels", np.int64)])
def test_an_array_of_another_type_is_refused(tmp_path, array, dtype):
    write_set(tmp_path / "set")
    path = tmp_path / "set" / "train" / f"{array}.npy"
    np.save(path, np.load(path).astype(dtype))
    with pytest.raises(InputError, match=f"{np.dtype(dtype)}"):
        arrays.load_split(tmp_path / "set", "train")


def build(folder, text, error=None):
    with writing.building(folder) as partial:
        (partial / "file").write_text(text)
        if error:
            raise error


def test_a_block_that_ends_well_replaces_the_folder_whole(tmp_path):
    folder = tmp_path / "deep" / "set"
    build(folder, "first")
    (folder / "stale").write_text("of the first")
    with writing.building(folder) as partial:
        (partial / "file").write_text("second")
        assert contents(folder) == {"file": b"first", "stale": b"of the first"}
    assert contents(folder) == {"file": b"second"}
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_after_an_error_in_the_input_the_old_folder_is_left_and_nothing_else(tmp_path):
    build(tmp_path / "set", "old")
    with pytest.raises(InputError):
        build(tmp_path / "set", "half", InputError("bad"))
    assert contents(tmp_path) == {"set/file": b"old"}


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), UnfinishedError("")]
)
def test_after_any_other_end_what_is_built_stays_to_go_on_with(tmp_path, error):
    build(tmp_path / "set", "old")
    with pytest.raises(type(error)):
        build(tmp_path / "set", "half", error)
    assert (tmp_path / "set" / "file").read_text() == "old"
    with writing.building(tmp_path / "set") as partial:
        assert (partial / "file").read_text() == "half"
    assert contents(tmp_path) == {"set/file": b"half"}


def test_a_folder_moved_aside_by_a_killed_run_comes_back_before_the_next(tmp_path):
    build(
        tmp_path / ".set.old", "old"
    )  # killed between the two renames: nothing stands under the real name
    with pytest.raises(InputError):
        build(tmp_path / "set", "half", InputError(""))
    assert contents(tmp_path) == {"set/file": b"old"}
    shutil.copytree(
        tmp_path / "set", tmp_path / ".set.old"
    )  # killed after them: the old one is spent
    build(tmp_path / "set", "new")
    assert contents(tmp_path) == {"set/file": b"new"}


def test_a_link_to_a_folder_elsewhere_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "elsewhere")
    for text in ("first", "second"):
        build(tmp_path / "set", text)
    assert (tmp_path / "set").is_symlink()
    assert contents(tmp_path / "elsewhere") == {"file": b"second"}


def test_the_current_folder_can_be_the_target(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path / "set")
    build(arrays.Path("."), "new")
    assert contents(tmp_path / "set") == {"file": b"new"}


def test_bytes_that_changed_are_found_by_their_checksum(tmp_path):
    write_set(tmp_path / "set")
    assert not any(is_damaged for _, is_damaged in arrays.damaged_arrays(tmp_path / "set"))
    path = tmp_path / "set" / "train" / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (tmp_path / "set" / "train" / "sizes.npy").unlink()
    arrays.load_split(tmp_path / "set", "train")  # opens: the shape is right
    damaged = [
        path.name for path, is_damaged in arrays.damaged_arrays(tmp_path / "set") if is_damaged
    ]
    assert damaged == ["images.npy", "sizes.npy"]
