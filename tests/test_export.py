"""The export command, and its files read by processes that have no svhn_jax."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image
from tiny import random_split, save_run

from svhn_jax import cli, export
from svhn_jax.data import arrays, photos
from svhn_jax.data.crop import Box, crop_number
from svhn_jax.inference.photo_reader import PRETRAINED
from svhn_jax.inference.reader import Reader

REAL = Path(os.environ.get("SVHN_REAL", REPOSITORY.parent / "shared" / "real"))
# Refuses the packages named in its first argument, in whatever way they are imported.
REFUSE = """
import sys
refused = sys.argv[1].split(",")
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"{name} is refused")
sys.meta_path.insert(0, Refuse())
"""
READ_ONNX = """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[2])
names = [output.name for output in session.get_outputs()]
read = dict(zip(names, session.run(None, {"crops": np.load("crops.npy")})))
np.savez("read.npz", **read)
"""
READ_STABLEHLO = """
import jax, numpy as np
from pathlib import Path
from jax import export
reader = export.deserialize(bytearray(Path(sys.argv[2]).read_bytes()))
np.savez("read.npz", **jax.device_get(reader.call(np.load("crops.npy"))))
"""
NO_PACKAGE = "jax,jaxlib,flax,onnx,svhn_jax"
FORMATS = {"onnx": (READ_ONNX, NO_PACKAGE), "stablehlo": (READ_STABLEHLO, "flax,svhn_jax")}


def export_by(*arguments):
    return cli.call(export.Options, export.main, [*map(str, arguments)])


def run_apart(folder, code, *arguments):
    """The output of code in a process that cannot import the packages of the first argument."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", REFUSE + code, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_apart(folder, to, file, crops):
    """The outputs of a file for crops, by a process without svhn_jax."""
    script, refused = FORMATS[to]
    np.save(folder / "crops.npy", crops)
    run_apart(folder, script, refused, file)
    with np.load(folder / "read.npz") as read:
        return dict(read)


def assert_reads_as(read, expected, tolerance):
    """The same numbers, and the same probabilities within the tolerance."""
    labels = np.concatenate([read["length"][:, None], read["digits"]], axis=1)
    np.testing.assert_array_equal(labels, expected.labels)
    log_p = {
        "confidence": expected.log_p,
        "length_p": expected.length_log_p,
        "digit_p": expected.digit_log_p,
    }
    for name, values in log_p.items():
        np.testing.assert_allclose(read[name], np.exp(values), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    save_run(folder)
    return folder / "run"


@pytest.mark.parametrize("to", FORMATS)
def test_a_process_without_the_package_reads_the_same(run, tmp_path, monkeypatch, capfd, to):
    monkeypatch.chdir(tmp_path)
    assert export_by("--to", to, "--run", run) == 0
    file = tmp_path / f"run.{to}"
    assert capfd.readouterr().out.startswith(f"run.{to}: step 7 of tiny, 0.")
    assert not re.search(rb"/\w+/\w+\.py", file.read_bytes())  # no paths of this machine
    crops = random_split(9, seed=3).images
    assert_reads_as(read_apart(tmp_path, to, file, crops), Reader(str(run)).read(crops), 1e-5)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")
def test_the_shipped_weights_read_500_real_photos_alike_without_jax(tmp_path):
    options = ("--raw", REAL / "format1", "--to", tmp_path / "data", "--splits", "test")
    subprocess.run([sys.executable, "-m", "svhn_jax.preprocess", *options], check=True)
    assert export_by("--to", "onnx", "--file", tmp_path / "reader.onnx", "--quiet") == 0
    crops = np.asarray(arrays.load_split(tmp_path / "data", "test").images)
    assert len(crops) == 500
    read = read_apart(tmp_path, "onnx", tmp_path / "reader.onnx", crops)
    assert_reads_as(read, Reader(str(PRETRAINED)).read(crops), 1e-5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--to", "onnx", "--file", "a.pb"), "--file is a.pb"),
        (("--to", "onnx", "--file", "no/a.onnx"), "--file is no/a.onnx"),
        (("--to", "onnx", "--run", "nosuch"), "nosuch"),
        (("--to", "onnx", "--step", "all"), "step"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(tmp_path, monkeypatch, capfd, arguments, word):
    monkeypatch.chdir(tmp_path)
    assert export_by(*arguments) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert word in error
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("missing", "to"), [("onnx", "onnx"), ("flatbuffers", "stablehlo")])
def test_a_package_that_is_not_installed_is_named(monkeypatch, capfd, missing, to):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else name)
    assert export_by("--to", to) == 1
    error = capfd.readouterr().err
    assert missing in error
    assert "svhn_jax[export]" in error


def save_kinds(folder, photo):
    """The photo as RGB, with alpha, with a palette that has a transparent colour, 16-bit grey."""
    alpha = np.linspace(0, 255, 60 * 60).reshape(60, 60).astype(np.uint8)
    grey = np.asarray(photo.convert("L")).astype(np.uint16) * 200
    palette = photo.quantize(16)
    transparent = int(np.bincount(np.asarray(palette).ravel()).argmax())
    photo.save(folder / "photo.png")
    Image.fromarray(np.dstack([photo, alpha])).save(folder / "alpha.png")
    palette.save(folder / "palette.png", transparency=transparent)
    Image.fromarray(grey).save(folder / "16bit.png")
    return ["photo.png", "alpha.png", "palette.png", "16bit.png"]


def test_the_code_in_the_documentation_crops_and_reads_as_the_package(run, tmp_path):
    assert export_by("--to", "onnx", "--run", run, "--file", tmp_path / "reader.onnx") == 0
    names = save_kinds(tmp_path, Image.fromarray(random_split(1, side=60, seed=5).images[0]))
    text = (REPOSITORY / "docs/export.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    call = 'read("photo.jpg", 40, 12, 55, 30)'
    assert call in code
    boxes = [(10, 12, 30, 20), (-3, 40, 20, 25), (38.5, 2.25, 30, 70)]  # two leave the photo
    pairs = [(name, box) for name in names for box in boxes]
    calls = "\n".join(f"read({name!r}, {', '.join(map(str, box))})" for name, box in pairs)
    lines = run_apart(tmp_path, code.replace(call, calls), NO_PACKAGE).splitlines()
    reader = Reader(str(run))
    for (name, (left, top, width, height)), line in zip(pairs, lines, strict=True):
        photo = photos.decode_photo((tmp_path / name).read_bytes())
        crop = crop_number(photo, Box(left, top, left + width, top + height), margin=0.3, size=24)
        expected = reader.read(crop[None])
        number = "".join(str(digit) for digit in expected.labels[0, 1:] if digit < 10)
        printed, confidence = line.split(" ")
        assert (name, printed) == (name, number)
        assert float(confidence) == pytest.approx(float(np.exp(expected.log_p[0])), abs=1e-4), name
