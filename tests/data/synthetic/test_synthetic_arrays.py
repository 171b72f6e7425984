"""A data set straight from the generator: the arrays that archives and preprocess give, and what it may replace."""

import json
import sys

import numpy as np
import pytest
from archives import contents, tree

from svhn_jax import preprocess, synthesize
from svhn_jax.data import arrays
from svhn_jax.data.synthetic import arrays as synthetic_arrays
from svhn_jax.errors import InputError

PHOTOS = {"train": 60, "extra": 50, "test": 9}
CROPS = {"validation-fraction": 0.2, "size": 32, "margin": 0.2}


def run(monkeypatch, command, **options):
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", [command.__name__, *arguments])
    command.main()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Prepared straight away, and by way of archives."""
    folder = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(monkeypatch, synthesize, arrays=folder / "straight", **PHOTOS, **CROPS)
        run(monkeypatch, synthesize, to=folder / "raw", **PHOTOS)
        run(monkeypatch, preprocess, raw=folder / "raw", to=folder / "detour", **CROPS)
    return folder


def test_every_array_is_byte_for_byte_what_preprocess_makes_of_the_archives(made):
    straight, detour = contents(made / "straight"), contents(made / "detour")
    manifests = [json.loads(files.pop("manifest.json")) for files in (straight, detour)]
    assert len(straight) == 15
    assert straight == detour
    for key in ("format", "crop", "max_digits", "validation_fraction", "seed", "limit", "splits"):
        assert manifests[0][key] == manifests[1][key]
    assert list(manifests[0]["sources"]) == list(manifests[1]["sources"])
    assert manifests[0]["splits"]["validation"]["examples"] > 10


def test_longer_numbers_too_are_what_preprocess_makes_of_the_archives(tmp_path, monkeypatch):
    photos, more = {"train": 40, "test": 5}, {"max-digits": 8}
    run(monkeypatch, synthesize, arrays=tmp_path / "straight", **photos, **CROPS, **more)
    run(monkeypatch, synthesize, to=tmp_path / "raw", **photos, **more)
    run(monkeypatch, preprocess, raw=tmp_path / "raw", to=tmp_path / "detour", **CROPS, **more)
    straight, detour = contents(tmp_path / "straight"), contents(tmp_path / "detour")
    manifests = [json.loads(files.pop("manifest.json")) for files in (straight, detour)]
    assert straight == detour
    assert manifests[0]["max_digits"] == manifests[1]["max_digits"] == 8
    assert {"6", "7", "8"} <= manifests[0]["splits"]["train"]["lengths"].keys()
    targets = arrays.load_split(tmp_path / "straight", "train").labels
    assert (targets.shape[1], targets[:, 0].max()) == (9, 8)


def test_the_manifest_says_that_it_is_synthetic_and_reads_like_any_other(made):
    manifest = arrays.read_manifest(made / "straight")
    assert manifest["synthetic"]["photos"] == PHOTOS
    assert {source: entry["kept"] for source, entry in manifest["sources"].items()} == PHOTOS
    assert all("synthetic" in entry["path"] for entry in manifest["sources"].values())
    assert "synthetic" not in arrays.read_manifest(made / "detour")
    images, targets, names, *_ = arrays.load_split(made / "straight", "test")
    assert images.shape == (9, 32, 32, 3)
    assert targets.shape == (9, 6)
    assert names.tolist() == [b"test/%d.png" % number for number in range(1, 10)]
    assert not any(is_damaged for _, is_damaged in arrays.damaged_arrays(made / "straight"))


def test_a_second_run_touches_nothing_and_other_settings_make_it_anew(
    made, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "set"
    run(monkeypatch, synthesize, arrays=folder, train=0, test=3)
    assert "3 test synthetic numbers, 64 x 64" in capsys.readouterr().out
    before = tree(folder)
    run(monkeypatch, synthesize, arrays=folder, train=0, test=3)
    assert "is up to date: 3 test synthetic numbers" in capsys.readouterr().out
    assert tree(folder) == before
    images = (folder / "test" / "images.npy").read_bytes()
    for options in (
        {"seed": 1},
        {"margin": 0.1},
        {"size": 16},
        {"test": 4},
        {"max-digits": 8},
        {"extra": 2},
    ):
        run(monkeypatch, synthesize, arrays=folder, **({"train": 0, "test": 3} | options))
        assert "up to date" not in capsys.readouterr().out
        assert (folder / "test" / "images.npy").read_bytes() != images or options == {"extra": 2}
    assert set(arrays.read_manifest(folder)["splits"]) == {"train", "validation", "test"}
    (folder / "test" / "images.npy").unlink()
    run(monkeypatch, synthesize, arrays=folder, train=0, test=3, extra=2)
    assert (folder / "test" / "images.npy").is_file()


def preprocessed(folder, made):
    (made / "detour").rename(folder)


def with_a_note(folder, made):
    for name, content in contents(made / "straight").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("mine")


def a_manifest_of_something_else(folder, made):
    folder.mkdir()
    (folder / "manifest.json").write_text('["synthetic", 1]')
    (folder / "train").mkdir()
    (folder / "train" / "images.npy").write_bytes(b"mine")


@pytest.mark.parametrize("there", [with_a_note, a_manifest_of_something_else, preprocessed])
def test_what_is_not_a_synthetic_data_set_is_refused_and_kept(tmp_path, monkeypatch, made, there):
    there(tmp_path / "set", made)
    before = tree(tmp_path)
    with pytest.raises(
        InputError,
        match="holds other files than a synthetic data set; give a new or an empty folder",
    ):
        run(monkeypatch, synthesize, arrays=tmp_path / "set", train=0, test=3)
    assert tree(tmp_path) == before
    if there is preprocessed:
        (tmp_path / "set").rename(made / "detour")


def test_a_file_in_the_way_is_refused(tmp_path, monkeypatch):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        run(monkeypatch, synthesize, arrays=tmp_path / "set", train=0, test=3)


def test_a_run_that_is_interrupted_leaves_what_stood_there_and_none_of_its_own(
    tmp_path, monkeypatch
):
    run(monkeypatch, synthesize, arrays=tmp_path / "set", train=0, test=3)
    before = contents(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(synthetic_arrays, "_finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(patch, synthesize, arrays=tmp_path / "set", train=0, test=5)
    assert contents(tmp_path) == before
    run(monkeypatch, synthesize, arrays=tmp_path / "set", train=0, test=5)
    assert len(arrays.load_split(tmp_path / "set", "test").images) == 5
    assert not (tmp_path / ".set.partial").exists()


def test_what_a_killed_run_left_is_not_taken_over(tmp_path, monkeypatch):
    partial = tmp_path / ".set.partial"
    (partial / "train").mkdir(parents=True)
    (partial / "train" / "images.npy").write_bytes(b"half")
    (partial / "plan.json").write_text("{}")
    run(monkeypatch, synthesize, arrays=tmp_path / "set", train=0, test=3)
    assert not partial.exists()
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["manifest.json", "test"]


def test_too_little_room_is_told_before_anything_is_rendered(tmp_path, monkeypatch):
    monkeypatch.setattr(
        synthetic_arrays.writing.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    monkeypatch.setattr(synthetic_arrays.render, "render", lambda *_: pytest.fail("rendered"))
    with pytest.raises(InputError, match=r"need 0\.00 GB and 0\.00 GB are free there"):
        run(monkeypatch, synthesize, arrays=tmp_path / "set", train=0, test=3)
    assert not any(tmp_path.iterdir())


def test_a_number_of_six_digits_goes_where_preprocess_puts_it(monkeypatch):
    """It is held out for validation by no fraction, and has the label of more than five digits."""
    wanted = synthetic_arrays.settings(
        {"train": 40}, size=8, margin=0.3, max_digits=5, validation_fraction=0.5, seed=0
    )
    monkeypatch.setattr(
        synthetic_arrays, "_lengths", lambda seed, source, max_digits, numbers: [6 for _ in numbers]
    )
    with synthetic_arrays.Workers(1) as workers:
        places = synthetic_arrays._places(wanted, workers)["train"]
    assert {synthetic_arrays.arrays.SPLITS[split] for split in places.splits} == {"train"}
    outcome = synthetic_arrays.Outcome(1, (1, 2, 3, 4, 5, 6), (0.0, 0.0, 5.0, 5.0), (9, 9))
    assert np.array_equal(synthetic_arrays.labels.encode(outcome.digits), [6, 1, 2, 3, 4, 5])
