"""The commands together on a few synthetic photos: prepare, train, evaluate, report."""

import csv
import json
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from tiny import CONFIG, write_config

from svhn_jax import cli, evaluate, preprocess, report, synthesize

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
TRAIN = ("svhn_jax.train", "--config", "tiny.py")
STEPS = [str(step) for step in range(3, 25, 3)]


def run(folder, env, *command, status=0):
    """Runs a command as a user does; returns what it prints, or its errors where it fails."""
    command = [sys.executable, "-m", *command]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if status else done.stdout


def start(folder, env, *command):
    command = [sys.executable, "-m", *command]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)


def wait_for_line(process, words):
    assert any(words in line for line in process.stdout), f"no line with {words!r}"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, one_device_env):
    """A folder with tiny.py, 200 + 30 synthetic photos prepared, and a run "tiny" of 24 steps."""
    folder = tmp_path_factory.mktemp("workplace")
    made = ["--to", f"{folder}/raw", "--train", "200", "--test", "30", "--quiet"]
    assert cli.call(synthesize.Options, synthesize.main, made) == 0
    prepared = ["--raw", f"{folder}/raw", "--to", f"{folder}/data/tiny", "--size", "24", "--quiet"]
    assert cli.call(preprocess.Options, preprocess.main, prepared) == 0
    write_config(folder, CONFIG)
    (folder / "train.txt").write_text(run(folder, one_device_env, *TRAIN))
    return folder


@pytest.fixture
def call(workplace, monkeypatch, capfd):
    """Runs a command in this process, in the workplace; returns what it prints, or its errors."""

    def call(module, *arguments, status=0):
        monkeypatch.chdir(workplace)
        capfd.readouterr()
        assert cli.call(module.Options, module.main, arguments) == status
        printed = capfd.readouterr()
        return printed.err if status else printed.out

    return call


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def metrics_of(run_folder, split):
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


def test_train_prints_what_it_does_and_logs_as_the_seed_project_did(workplace):
    printed = (workplace / "train.txt").read_text()
    for word in ("data/tiny", "192 training images", "8 validation", "24 steps", "parameters"):
        assert word in printed
    assert re.search(r"\] Step:     2/24, Loss: .*, \d+ images/s, 0:\d\d:\d\d left\n", printed)
    folder = workplace / "checkpoints" / "tiny"
    assert json.loads((folder / "config.json").read_text())["image"]["crop"] == 20
    rows = metrics_of(folder, "train")
    assert [row["step"] for row in rows] == list(range(2, 25, 2))
    assert {"learning_rate", "images_per_s", "loss", "sequence_accuracy"} <= set(rows[0])
    assert sorted(path.name for path in (folder / "steps").iterdir()) == sorted(STEPS)
    assert {"train", "validation"} <= {path.name for path in (folder / "events").iterdir()}


def test_evaluate_gives_the_metrics_of_training_for_any_batch_size(workplace, call):
    asked = ("--config", "tiny.py", "--step", "all", "--batch-size")
    path = workplace / "checkpoints/tiny/results/validation.csv"
    tables = []
    for size in ("7", "512"):
        call(evaluate, *asked, size)
        tables.append(rows_of(path))
        path.unlink()
    recorded = metrics_of(workplace / "checkpoints/tiny", "validation")
    assert [row["step"] for row in tables[0]] == STEPS
    for small, large, wanted in zip(*tables, recorded, strict=True):
        for name in ("loss", "calibration_error"):
            assert float(small.pop(name)) == pytest.approx(float(large.pop(name)), abs=1.1e-4)
        assert small == large
        accuracy = float(small["sequence_accuracy"])
        assert accuracy == pytest.approx(wanted["sequence_accuracy"], abs=1e-6)


def test_report_of_a_run_and_of_its_data(workplace, call):
    call(report, "--run", "checkpoints/tiny", "--split", "test", "--to", "run.html")
    page = (workplace / "run.html").read_text()
    assert "<h1>Run tiny</h1>" in page
    assert "30 photos: the test split of data/tiny" in page
    call(report, "--data", "data/tiny", "--to", "data.html")
    assert "192" in (workplace / "data.html").read_text()


@pytest.mark.parametrize(
    ("module", "arguments", "expected"),
    [
        (evaluate, ("--run", "checkpoints/tiny"), {"split": "validation"}),
        (report, ("--data", "data/tiny", "--to", "json.html"), {"data": "data/tiny"}),
        (report, ("--run", "checkpoints/tiny", "--to", "json.html"), {"split": "validation"}),
    ],
)
def test_json_prints_the_result_as_one_line_and_quiet_nothing(call, module, arguments, expected):
    printed = call(module, *arguments, "--json")
    assert printed.count("\n") == 1
    assert expected.items() <= json.loads(printed).items()
    assert call(module, *arguments, "--quiet") == ""


def test_the_same_command_again_has_nothing_left_to_do(workplace, one_device_env):
    printed = run(workplace, one_device_env, *TRAIN)
    assert "Restored step 24 from " in printed
    assert "Nothing left to train" in printed


def parameters(folder, name):
    """Bytes of every value of a run's last step, through Orbax itself."""
    path = folder.resolve() / "checkpoints" / name / "steps" / "24" / "state"
    leaves = jax.tree_util.tree_leaves_with_path(ocp.PyTreeCheckpointer().restore(path))
    return {jax.tree_util.keystr(key): np.asarray(leaf).tobytes() for key, leaf in leaves}


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_and_ends_bit_identical(workplace, one_device_env, stop):
    name = f"stopped{stop.value}"
    command = (*TRAIN, "--name", name, "--eval-every-steps", "1000")
    with start(workplace, one_device_env, *command) as process:
        wait_for_line(process, "Step:     4")
        process.send_signal(stop)
        process.stdout.read()
    assert process.returncode == 128 + stop
    [stopped_at] = (int(x.name) for x in (workplace / f"checkpoints/{name}/steps").iterdir())
    assert 4 <= stopped_at < 24
    assert f"Restored step {stopped_at} from " in run(workplace, one_device_env, *command)
    assert parameters(workplace, name) == parameters(workplace, "tiny")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--name", "new", "--data.dir", "nosuch"), "nosuch"),
        (("--model.width", "9"), "model.width is 9, but 8"),
        (("--name", "new", "--image.crop", "25"), "image.crop is 25"),
        (("--name", "new", "--runs-dir", "az:/x"), "az:/"),
    ],
)
def test_what_train_cannot_do_is_one_line_and_status_1(workplace, one_device_env, options, named):
    printed = run(workplace, one_device_env, *TRAIN, *options, status=1)
    [line] = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert named in line
    assert not (workplace / "checkpoints" / "new").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--to", "x.html"), "--run FOLDER or --data DIR"),
        (("--to", "x.pdf", "--data", "data/tiny"), "x.pdf"),
        (("--to", "x.html", "--run", "checkpoints/tiny", "--step", "7"), "--step"),
    ],
)
def test_report_names_what_it_cannot_do(call, options, named):
    assert named in call(report, *options, status=1)
