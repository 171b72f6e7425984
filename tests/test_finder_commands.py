"""svhn_jax.train_finder on synthetic photos, as a user runs it."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from svhn_jax import train_finder
from svhn_jax.data.synthetic import archive as synthetic_archive
from svhn_jax.data.workers import Workers
from svhn_jax.errors import InputError
from svhn_jax.finding import weights
from svhn_jax.inference import find_scores
from svhn_jax.labels import DEFAULT_MAX_DIGITS

SETTINGS = [
    "--scenes",
    "40",
    "--steps",
    "2",
    "--batch-size",
    "8",
    "--width",
    "8",
    "--blocks",
    "1",
    "--empty-scenes",
    "1",
]


def run(module, *options, env, cwd=None):
    command = [sys.executable, "-m", f"svhn_jax.{module}", *map(str, options)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    with Workers(1) as workers:
        for split, count in (("train", 12), ("test", 4)):
            path = folder / f"{split}.tar.gz"
            settings = {"seed": 3, "workers": workers, "max_digits": DEFAULT_MAX_DIGITS}
            synthetic_archive.write(path, split, count, **settings, advance=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def trained(raw, tmp_path_factory, one_device_env):
    folder = tmp_path_factory.mktemp("finder")
    options = ["--raw", raw, "--work", "work", "--to", folder / "to", "--jobs", 1, *SETTINGS]
    done = run("train_finder", *options, "--json", env=one_device_env, cwd=folder)
    assert done.returncode == 0, done.stderr
    options[3] = folder / "work"
    return folder / "to", json.loads(done.stdout), options


def test_a_finder_is_trained_and_trained_again_without_a_step(trained, one_device_env):
    folder, result, options = trained
    loaded = weights.load(folder)
    assert loaded.config.steps == 2
    assert loaded.least_score == result["least_score"]
    assert result["empties"] == 1
    assert result["numbers"] > 0
    before = (folder / weights.WEIGHTS).read_bytes()
    again = run("train_finder", *options, env=one_device_env)
    assert again.returncode == 0, again.stderr
    assert "step 2 of 2" not in again.stdout
    assert (folder / weights.WEIGHTS).read_bytes() == before


def test_photos_without_boxed_ones_for_validation_are_refused_before_the_work(
    tmp_path, monkeypatch
):
    folder = tmp_path / "raw" / "train"
    folder.mkdir(parents=True)
    Image.new("RGB", (60, 40), "grey").save(folder / "a.png")
    (folder / "labels.csv").write_text("file,label,left,top,width,height\na.png,12,5,5,20,20\n")
    options = [
        "--raw",
        tmp_path / "raw",
        "--work",
        tmp_path / "work",
        "--to",
        tmp_path / "to",
        "--jobs",
        1,
        *SETTINGS,
    ]
    monkeypatch.setattr(sys, "argv", ["train_finder", *map(str, options)])
    with pytest.raises(
        InputError, match=r"raw: none of the photos held out for validation, .*; give more photos"
    ):
        train_finder.main()
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    ("option", "words"),
    [(["--seed", "7"], "--seed 0, not 7"), (["--start", "other"], "--start none, not .*/other")],
)
def test_the_work_of_another_run_is_refused_before_its_scenes_are_replaced(
    trained, monkeypatch, option, words
):
    _, _, options = trained
    scenes = options[3] / "scenes" / "scenes.json"
    before = scenes.read_text()
    monkeypatch.setattr(sys, "argv", ["train_finder", *map(str, options), *option])
    with pytest.raises(InputError, match=words):
        train_finder.main()
    assert scenes.read_text() == before


def test_a_stop_before_the_least_score_is_chosen_leaves_the_finder_that_was_there(
    trained, monkeypatch
):
    folder, _, options = trained
    before = (folder / weights.SETTINGS).read_bytes()
    monkeypatch.setattr(sys, "argv", ["train_finder", *map(str, options)])

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(find_scores, "choose_least_score", stop)
    with pytest.raises(KeyboardInterrupt):
        train_finder.main()
    assert (folder / weights.SETTINGS).read_bytes() == before


def test_a_missing_folder_of_photos_is_one_line(tmp_path, one_device_env):
    done = run(
        "train_finder",
        "--raw",
        tmp_path / "no",
        "--work",
        tmp_path,
        "--to",
        tmp_path,
        env=one_device_env,
    )
    assert done.returncode == 1
    assert "no such folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
