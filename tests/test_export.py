"""The export command, and its files read by processes that have no svhn_jax."""

import json
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

from svhn_jax import export, files, interrupts, preprocess
from svhn_jax.data import arrays, photos
from svhn_jax.data.crop import Box, crop_number
from svhn_jax.errors import InputError
from svhn_jax.exporting import check, onnx_model
from svhn_jax.inference.reader import Reader
from svhn_jax.training import dataset

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
"""
READ_STABLEHLO = """
import jax, numpy as np
from pathlib import Path
from jax import export
reader = export.deserialize(bytearray(Path(sys.argv[2]).read_bytes()))
read = jax.device_get(reader.call(np.load("crops.npy")))
"""
SAVE = """
np.savez("read.npz", **read)
sys.exit(any(name.partition(".")[0] in refused for name in sys.modules))
"""
# Ctrl-C while onnxruntime measures the ranges of values.
INTERRUPTED = """
import os, signal, tempfile
from svhn_jax import errors, export, interrupts
from svhn_jax.exporting import quantization
def interrupt(self):
    print(os.listdir(tempfile.gettempdir()), flush=True)
    signal.raise_signal(signal.SIGINT)
quantization._Crops.get_next = interrupt
interrupts.end_at_once()
errors.run_command(export.main)
"""


def export_by(monkeypatch, *arguments):
    monkeypatch.setattr(interrupts, "raise_interrupts", lambda: None)
    monkeypatch.setattr("sys.argv", ["export", *map(str, arguments)])
    return export.main()


def read_apart(folder, script, file, crops, *refused):
    """The outputs of a file for crops, in a process in which the refused packages cannot be imported."""
    np.save(folder / "crops.npy", crops)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", REFUSE + script + SAVE, ",".join(refused), str(file)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "read.npz") as read:
        return dict(read)


def assert_reads_as(read, expected):
    """The same numbers, and probabilities within 1e-4. Returns the greatest difference of a confidence."""
    np.testing.assert_array_equal(
        np.concatenate([read["length"][:, None], read["digits"]], axis=1), expected.labels
    )
    for name, log_p in (
        ("confidence", expected.log_p), ("length_p", expected.length_log_p), ("digit_p", expected.digit_log_p)
    ):  # fmt: skip
        np.testing.assert_allclose(read[name], np.exp(log_p), rtol=0, atol=1e-4)
    return np.abs(read["confidence"] - np.exp(expected.log_p)).max()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    save_run(folder)
    return folder / "run"


@pytest.mark.parametrize(
    ("to", "script", "refused"),
    [
        ("onnx", READ_ONNX, ("jax", "jaxlib", "flax", "onnx", "svhn_jax")),
        ("stablehlo", READ_STABLEHLO, ("flax", "svhn_jax")),
    ],
)
def test_a_process_without_the_package_reads_the_same(
    run, tmp_path, monkeypatch, capsys, to, script, refused
):
    monkeypatch.chdir(tmp_path)
    assert export_by(monkeypatch, "--to", to, "--run", run) == 0
    assert capsys.readouterr().out.startswith(f"run.{to}: step 7 of tiny, 0.")
    assert not re.search(
        rb"/\w+/\w+\.py", Path(f"run.{to}").read_bytes()
    )  # no paths of this machine
    crops = random_split(9, seed=3).images
    read = read_apart(tmp_path, script, f"run.{to}", crops, *refused)
    assert_reads_as(read, Reader(str(run)).read(crops))


@pytest.mark.skipif(
    not REAL.is_dir(), reason=f"no real SVHN photos at {REAL}; SVHN_REAL names their folder"
)
def test_the_pretrained_weights_read_real_photos_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "preprocess",
            "--raw",
            str(REAL / "format1"),
            "--to",
            str(tmp_path / "set"),
            "--splits",
            "test",
        ],
    )
    preprocess.main()
    pretrained, file = REPOSITORY / "svhn_jax/weights/reader", tmp_path / "pretrained.onnx"
    export_by(monkeypatch, "--to", "onnx", "--run", pretrained, "--file", file)
    crops = arrays.load_split(tmp_path / "set", "test").images
    assert len(crops) == 500
    read = read_apart(tmp_path, READ_ONNX, file, crops, "jax", "jaxlib", "flax", "onnx", "svhn_jax")
    difference = assert_reads_as(read, Reader(str(pretrained)).read(crops))
    with capsys.disabled():
        print(f"\n500 real test photos: greatest difference of a confidence {difference:.1e}")


def test_the_result_as_json_and_on_a_prepared_data_set(run, tmp_path, monkeypatch, capsys):
    load_images = dataset.load_images

    def relabelled(folder, split, *rest):
        """Labels the validation crops so that the run reads three of the four right."""
        found = load_images(folder, split, *rest)
        if split == "validation":
            labels = Reader(str(run)).read(found.images).labels
            found = found._replace(labels=np.concatenate([[labels[0] ^ 1], labels[1:]]))
            checked.append(found)
        return found

    file, checked = tmp_path / "a.onnx", []
    monkeypatch.setattr(dataset, "load_images", relabelled)
    export_by(
        monkeypatch, "--to", "onnx", "--run", run, "--file", file, "--check", run.parent / "data",
        "--precision", "int8", "--calibrate", run.parent / "data", "--json",
    )  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert (result["file"], result["bytes"]) == (str(file), file.stat().st_size)
    assert result["check"]["crops"] == 4
    [split] = checked
    read = onnx_model.run(onnx_model.load(file.read_bytes()), split.images)
    numbers = np.concatenate([read["length"][:, None], read["digits"]], axis=1)
    assert result["check"]["accuracy_jax"] == 0.75
    assert result["check"]["accuracy"] == (numbers == split.labels).all(axis=1).mean()
    assert result["metadata"]["precision"] == "int8"


def test_a_file_that_reads_otherwise_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "TOLERANCE", -1.0)
    with pytest.raises(
        InputError,
        match=r"a\.onnx: not written, because it reads 0 of 64 crops differently than JAX",
    ):
        export_by(monkeypatch, "--to", "onnx", "--run", run, "--file", tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_only_an_export_is_replaced(run, tmp_path, monkeypatch):
    file = tmp_path / "a.onnx"
    file.write_bytes(b"somebody's network")
    arguments = ("--to", "onnx", "--run", run, "--file", file)
    with pytest.raises(
        InputError, match=r"a\.onnx: exists already, and is no export of svhn_jax; move it away"
    ):
        export_by(monkeypatch, *arguments)
    assert file.read_bytes() == b"somebody's network"
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match="exists already"):
        export_by(monkeypatch, *arguments)
    file.rmdir()
    export_by(monkeypatch, *arguments)
    content = file.read_bytes()
    export_by(monkeypatch, *arguments)
    assert file.read_bytes() == content  # the same run gives the same file
    monkeypatch.setattr(files, "sync", full_disk)
    with pytest.raises(OSError, match="No space") as caught:
        export_by(monkeypatch, *arguments)
    assert caught.value.filename == str(file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert file.read_bytes() == content


def full_disk(path):
    raise OSError(28, "No space left on device", str(path))


@pytest.mark.parametrize("to", ["onnx", "stablehlo"])
def test_a_text_about_svhn_jax_is_no_export(run, tmp_path, monkeypatch, to):
    file, text = tmp_path / f"a.{to}", b"notes on svhn_jax_reads, a function of svhn_jax\n"
    for content in (text, b"", b"\x08\x08" + text):
        file.write_bytes(content)
        with pytest.raises(InputError, match="exists already, and is no export"):
            export_by(monkeypatch, "--to", to, "--run", run, "--file", file)
        assert file.read_bytes() == content
    file.unlink()
    file.symlink_to("nowhere")
    with pytest.raises(InputError, match="exists already, and is no export"):
        export_by(monkeypatch, "--to", to, "--run", run, "--file", file)
    file.unlink()
    for _ in range(2):
        assert export_by(monkeypatch, "--to", to, "--run", run, "--file", file) == 0


def test_an_interrupted_quantization_leaves_no_files(run, tmp_path, one_device_env):
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "--to", "onnx", "--run", str(run), "--file", "a.onnx",
         "--precision", "int8", "--calibrate", str(run.parent / "data")],
        cwd=tmp_path, env=one_device_env | {"TMPDIR": str(tmp_path / "temporary")}, capture_output=True, text=True,
    )  # fmt: skip
    assert "ort.quant." in done.stdout
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
    assert [
        path for path in tmp_path.rglob("*") if path.name.startswith(("ort.quant.", "a.onnx"))
    ] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--to", "stablehlo", "--precision", "int8"],
            "--precision is int8; StableHLO is written in float32 alone",
        ),
        (
            ["--to", "onnx", "--precision", "int8"],
            "give --calibrate DIR, a prepared data set, with --precision int8",
        ),
        (
            ["--to", "onnx", "--calibrate", "d"],
            "give --calibrate DIR, a prepared data set, with --precision int8",
        ),
        (
            ["--to", "onnx", "--file", "a.pb"],
            "--file is a.pb; it must end in .onnx, and its folder must exist",
        ),
        (
            ["--to", "onnx", "--file", "no/a.onnx"],
            "--file is no/a.onnx; it must end in .onnx, and its folder",
        ),
        (["--to", "onnx", "--run", "nosuch"], "nosuch: no run there (no config.json)"),
        (["--to", "onnx", "--step", "all", "--run", "nosuch"], "--step is all; give one step"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        export_by(monkeypatch, *arguments)


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [("onnx", ["--to", "onnx"]), ("flatbuffers", ["--to", "stablehlo"]),
     ("onnxruntime", ["--to", "onnx", "--precision", "int8", "--calibrate", "d"])],
)  # fmt: skip
def test_a_package_that_is_not_installed_is_named_with_the_remedy(
    tmp_path, one_device_env, missing, arguments
):
    code = (
        REFUSE
        + "from svhn_jax import export, errors\nsys.argv[:2] = ['export']\nerrors.run_command(export.main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, missing, *arguments],
        cwd=tmp_path, env=one_device_env, capture_output=True, text=True,
    )  # fmt: skip
    wanted = f"error: --to {arguments[1]} needs the package {missing} ({missing} is refused): pip install 'svhn_jax[export]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", wanted)


def test_without_onnxruntime_the_file_is_written_and_not_compared(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    export_by(monkeypatch, "--to", "onnx", "--run", run, "--file", tmp_path / "a.onnx")
    assert "not compared with JAX: pip install 'svhn_jax[export]'" in capsys.readouterr().out
    assert (tmp_path / "a.onnx").stat().st_size > 10_000


def test_a_damaged_run_is_one_line_and_writes_nothing(tmp_path, one_device_env):
    folder, _, _ = save_run(tmp_path)
    for path in Path(folder.path, "steps/7/state").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:500] + bytes(path.stat().st_size - 500))
    done = subprocess.run(
        [sys.executable, "-m", "svhn_jax.export", "--to", "onnx", "--run", str(folder.path)],
        cwd=tmp_path, env=one_device_env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(r"error: \S+/steps/7: this checkpoint cannot be used: .*\n", done.stderr), (
        done.stderr
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run"]


def save_kinds(folder, photo):
    """The photo as RGB, with alpha, with a palette that has a transparent colour, and as 16-bit grey; the files' names."""
    alpha, grey = (
        np.linspace(0, 255, 60 * 60).reshape(60, 60).astype(np.uint8),
        np.asarray(photo.convert("L")),
    )
    palette = photo.quantize(16)
    kinds = {
        "photo.png": photo,
        "alpha.png": Image.fromarray(np.dstack([photo, alpha])),
        "palette.png": palette,
        "16bit.png": Image.fromarray(grey.astype(np.uint16) * 200),
    }
    for name, image in kinds.items():
        image.save(
            folder / name,
            **(
                {"transparency": int(np.bincount(np.asarray(palette).ravel()).argmax())}
                if image is palette
                else {}
            ),
        )
    return [*kinds]


def test_the_code_in_the_documentation_crops_and_reads_as_the_package(run, tmp_path, monkeypatch):
    export_by(
        monkeypatch, "--to", "onnx", "--run", run, "--file", tmp_path / "pretrained.onnx", "--quiet"
    )
    names = save_kinds(tmp_path, Image.fromarray(random_split(1, side=60, seed=5).images[0]))
    code = (
        (REPOSITORY / "docs/export.md").read_text().partition("```python\n")[2].partition("```")[0]
    )
    call = 'read("photo.jpg", 40, 12, 55, 30)'
    assert call in code
    boxes = [(10, 12, 30, 20), (-3, 40, 20, 25), (38.5, 2.25, 30, 70)]  # two leave the photo
    asked = [(name, box) for name in names for box in boxes]
    calls = "\n".join(f"read({name!r}, {', '.join(map(str, box))})" for name, box in asked)
    refused = ("jax", "jaxlib", "flax", "onnx", "svhn_jax")
    done = subprocess.run(
        [sys.executable, "-c", REFUSE + code.replace(call, calls), ",".join(refused)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reader = Reader(str(run))
    for (name, (left, top, width, height)), line in zip(
        asked, done.stdout.splitlines(), strict=True
    ):
        photo = photos.decode_photo((tmp_path / name).read_bytes())
        crop = crop_number(photo, Box(left, top, left + width, top + height), margin=0.3, size=24)
        expected = reader.read(crop[None])
        number = "".join(str(digit) for digit in expected.labels[0, 1:] if digit < 10)
        printed, confidence = line.split(" ")
        assert (name, printed) == (name, number)
        assert float(confidence) == pytest.approx(float(np.exp(expected.log_p[0])), abs=1e-4), name
