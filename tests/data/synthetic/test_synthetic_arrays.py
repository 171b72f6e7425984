"""A data set made directly: the arrays that preprocess makes of the photos."""

import json

import pytest
from archives import contents, tree

from svhn_jax import cli, preprocess, synthesize
from svhn_jax.data import arrays
from svhn_jax.data.synthetic import arrays as synthetic_arrays

PHOTOS = {"train": 60, "extra": 50, "test": 9}
CROPS = {"validation-fraction": 0.2, "size": 32, "margin": 0.2}
FEW = {"train": 0, "test": 3}


def run(command, **options):
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return cli.call(command.Options, command.main, arguments)


@pytest.fixture(scope="module", params=[5, 8], ids="up to {} digits".format)
def made(tmp_path_factory, request):
    """Made directly, and by way of photos."""
    folder, more = tmp_path_factory.mktemp("sets"), {"max-digits": request.param}
    assert run(synthesize, arrays=folder / "straight", **PHOTOS, **CROPS, **more) == 0
    assert run(synthesize, to=folder / "raw", **PHOTOS, **more) == 0
    assert run(preprocess, raw=folder / "raw", to=folder / "detour", **CROPS, **more) == 0
    return folder, request.param


def test_every_array_is_byte_for_byte_what_preprocess_makes_of_the_photos(made):
    folder, max_digits = made
    straight, detour = contents(folder / "straight"), contents(folder / "detour")
    manifests = [json.loads(files.pop("manifest.json")) for files in (straight, detour)]
    assert len(straight) == 15
    assert straight == detour
    for key in ("format", "crop", "max_digits", "validation_fraction", "seed", "splits"):
        assert manifests[0][key] == manifests[1][key]
    assert list(manifests[0]["sources"]) == list(manifests[1]["sources"])
    assert "synthetic" not in manifests[1]
    manifest = arrays.read_manifest(folder / "straight")
    assert manifest["synthetic"]["photos"] == PHOTOS
    assert {source: entry["kept"] for source, entry in manifest["sources"].items()} == PHOTOS
    assert manifest["splits"]["validation"]["examples"] > 10
    lengths = set(manifest["splits"]["train"]["lengths"])
    assert ({"6", "7", "8"} <= lengths) == (max_digits == 8)
    assert arrays.damaged_arrays(folder / "straight") == []


def test_a_second_run_replaces_the_set_and_every_option_counts(tmp_path, capsys):
    folder, made = tmp_path / "set", set()
    for options in ({}, {"seed": 1}, {"margin": 0.1}, {"test": 4}, {"max-digits": 8}):
        assert run(synthesize, arrays=folder, **(FEW | options)) == 0
        made.add((folder / "test" / "images.npy").read_bytes())
    assert len(made) == 5
    assert "3 test synthetic numbers, 64 x 64" in capsys.readouterr().out


@pytest.mark.parametrize("there", ["a note", "another manifest", "a set of other photos", "a file"])
def test_another_folder_is_refused_and_kept(tmp_path, there, capsys):
    folder = tmp_path / "set"
    if there == "a file":
        folder.write_text("mine")
    elif there == "another manifest":
        folder.mkdir()
        (folder / "manifest.json").write_text('["synthetic", 1]')
    else:
        run(synthesize, arrays=folder, train=0, test=2)
        if there == "a note":
            (folder / "notes.txt").write_text("mine")
        else:
            manifest = json.loads((folder / "manifest.json").read_text())
            del manifest["synthetic"]
            (folder / "manifest.json").write_text(json.dumps(manifest))
    before = tree(tmp_path)
    assert run(synthesize, arrays=folder, **FEW) == 1
    assert capsys.readouterr().err.startswith(f"error: {folder}: ")
    assert tree(tmp_path) == before


def test_an_interrupted_run_leaves_the_old_set_and_nothing_else(tmp_path, monkeypatch):
    run(synthesize, arrays=tmp_path / "set", **FEW)
    before = contents(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic_arrays.render, "render", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(synthesize, arrays=tmp_path / "set", train=0, test=5)
    assert contents(tmp_path) == before
