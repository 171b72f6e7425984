"""The commands, run as a user runs them, on a data set of a few synthetic photos."""

import csv
import dataclasses
import json
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image
from tiny import CONFIG, write_config

from svhn_jax.data import pictures

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
TRAIN = ("svhn_jax.train", "--config", "tiny.py")


def run(folder, env, *command, status=0):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    if status:
        assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def start(folder, env, *command):
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=env, stdout=subprocess.PIPE, text=True
    )


def wait_for_line(process, words):
    assert any(words in line for line in process.stdout), (
        f"the command ended before it printed {words!r}"
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, one_device_env):
    """A folder with tiny.py, a prepared data set of 200 + 30 synthetic photos, and a finished run "tiny" of 24 steps."""
    folder = tmp_path_factory.mktemp("workplace")
    run(
        folder,
        one_device_env,
        *["svhn_jax.synthesize", "--to", "raw", "--train", "200", "--test", "30"],
    )
    run(
        folder,
        one_device_env,
        *["svhn_jax.preprocess", "--raw", "raw", "--to", "data/tiny", "--size", "24"],
    )
    write_config(folder, CONFIG)
    (folder / "train.txt").write_text(run(folder, one_device_env, *TRAIN))
    return folder


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def assert_same_results(got, expected):
    """Rows of two results tables: the same counts, and the loss to the rounding of its last printed place."""
    for one, other in zip(got, expected, strict=True):
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), abs=1.01e-4)
        assert float(one["calibration_error"]) == pytest.approx(
            float(other["calibration_error"]), abs=1e-4
        )
        rounded = {"loss": "", "calibration_error": ""}
        assert one | rounded == other | rounded


def test_train_says_what_it_does_and_logs_as_the_seed_project_did(workplace):
    printed = (workplace / "train.txt").read_text()
    for word in ("data/tiny", "192 training images", "8 validation", "batch:", "epochs:", "24 steps", "learning rate:",
                 "random crop:", "grayscale:     no", "1 device(s)", "parameters", "multiply-accumulates"):  # fmt: skip
        assert word in printed
    assert re.search(r"\] Step:     2/24, Loss: .*, \d+ images/s, 0:\d\d:\d\d left\n", printed)
    assert ", Seq Acc: 0." in printed


def test_a_run_folder_holds_config_metrics_events_and_steps(workplace):
    folder = workplace / "checkpoints" / "tiny"
    assert json.loads((folder / "config.json").read_text())["image"]["crop"] == 20
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "train"] == list(range(2, 25, 2))
    assert [row["step"] for row in rows if row["split"] == "validation"] == list(range(3, 25, 3))
    assert {"learning_rate", "images_per_s", "loss", "digit_accuracy", "sequence_accuracy"} <= set(
        rows[0]
    )
    assert sorted(int(path.name) for path in (folder / "steps").iterdir()) == list(range(3, 25, 3))
    assert {path.name for path in (folder / "events").iterdir() if path.is_dir()} == {
        "train",
        "validation",
    }


def test_evaluate_all_is_a_sorted_table_that_no_batch_size_changes(workplace, one_device_env):
    evaluate = (
        "svhn_jax.evaluate",
        "--run",
        "checkpoints/tiny",
        "--split",
        "test",
        "--step",
        "all",
        "--batch-size",
    )
    printed = run(workplace, one_device_env, *evaluate, "7")
    path = workplace / "checkpoints" / "tiny" / "results" / "test.csv"
    small = rows_of(path)
    assert "sequence" in printed
    assert max(map(len, printed.splitlines()[:10])) <= 80
    assert [row["step"] for row in rows_of(path)] == [str(step) for step in range(3, 25, 3)]
    assert {row["examples"] for row in rows_of(path)} == {"30"}
    assert all((path.parent / f"predictions/test-{step}.csv").exists() for step in range(3, 25, 3))
    path.unlink()
    run(workplace, one_device_env, *evaluate, "512")
    assert_same_results(rows_of(path), small)


def test_evaluate_takes_best_latest_a_number_and_other_data(workplace, one_device_env):
    evaluate = ("svhn_jax.evaluate", "--config", "tiny.py", "--split", "validation", "--step")
    path = workplace / "checkpoints" / "tiny" / "results" / "validation.csv"
    for step in ("best", "latest", "9"):
        run(workplace, one_device_env, *evaluate, step)
    metrics = [
        json.loads(line)
        for line in (workplace / "checkpoints/tiny/metrics.jsonl").read_text().splitlines()
    ]
    recorded = {row["step"]: row for row in metrics if row["split"] == "validation"}
    assert {"9", "24"} <= {row["step"] for row in rows_of(path)}
    for row in rows_of(path):
        assert float(row["sequence_accuracy"]) == pytest.approx(
            recorded[int(row["step"])]["sequence_accuracy"], abs=1e-6
        )
        assert float(row["loss"]) == pytest.approx(recorded[int(row["step"])]["loss"], abs=1e-4)
    sheet, errors = workplace / "sheet.png", workplace / "errors.png"
    other = (*evaluate, "latest", "--data", "data/tiny")
    printed = run(workplace, one_device_env, *other, "--sheet", str(sheet), "--errors", str(errors))
    with Image.open(sheet) as image, Image.open(errors) as misread:
        assert image.width == misread.width == 8 * pictures.TILE
        rows = misread.height // (pictures.TILE + pictures.CAPTION)
    count = round(
        (1 - float(rows_of(path)[-1]["sequence_accuracy"])) * float(rows_of(path)[-1]["examples"])
    )
    assert f"{count} of {count} misread photos" in printed
    assert rows == -(-count // 8)
    assert len(list(path.parent.glob("validation-tiny-*.csv"))) == 1
    run(workplace, one_device_env, *evaluate, "latest", "--tta")
    (averaged,) = rows_of(path.parent / "validation-tta.csv")
    assert averaged["loss"] != rows_of(path)[-1]["loss"]
    assert "one of 3, 6" in run(workplace, one_device_env, *evaluate, "7", status=1)


def test_evaluate_writes_predictions_and_json_that_agree_with_its_table(workplace, one_device_env):
    evaluate = (
        "svhn_jax.evaluate",
        "--run",
        "checkpoints/tiny",
        "--split",
        "test",
        "--step",
        "12",
        "--json",
    )
    printed = run(workplace, one_device_env, *evaluate)
    assert printed.count("\n") == 1
    values = json.loads(printed)
    (row,) = values["steps"]
    assert (row["step"], values["last_step"]["step"]) == (12, 12)
    predictions = rows_of(workplace / "checkpoints/tiny/results/predictions/test-12.csv")
    assert len(predictions) == 30
    right = [one["truth"] == one["prediction"] for one in predictions]
    assert np.mean(right) == pytest.approx(row["sequence_accuracy"])
    assert row["sequence_low"] <= row["sequence_accuracy"] <= row["sequence_high"]
    assert sum(total for _, total in values["last_step"]["by_length"].values()) == 30
    assert np.sum(values["last_step"]["length_confusion"]) == 30
    for one in predictions:
        shares = [float(one["length_p"]), *(float(one[f"digit_{n}_p"] or 1) for n in range(1, 6))]
        assert float(one["confidence"]) == pytest.approx(np.prod(shares), abs=1e-4)


def test_report_of_a_run_and_of_its_data(workplace, one_device_env):
    run(
        workplace,
        one_device_env,
        "svhn_jax.report",
        "--run",
        "checkpoints/tiny",
        "--to",
        "run.html",
    )
    page = (workplace / "run.html").read_text()
    assert "<h1>Run tiny</h1>" in page
    assert "30 photos: the test split of data/tiny, each read in one window (no --tta)." in page
    run(workplace, one_device_env, "svhn_jax.report", "--data", "data/tiny", "--to", "data.html")
    assert "192 train, 8 validation, 30 test" in (workplace / "data.html").read_text()


def test_compare_takes_steps_of_runs_and_tables_of_predictions(workplace, one_device_env):
    compare = ("svhn_jax.compare", "checkpoints/tiny@3")
    values = json.loads(run(workplace, one_device_env, *compare, "checkpoints/tiny", "--json"))
    assert (values["first"], values["photos"]) == ("checkpoints/tiny@3", 30)
    assert re.fullmatch(r"checkpoints/tiny@\d+", values["second"])
    assert sum(values[name] for name in ("both", "only_first", "only_second", "neither")) == 30
    run(
        workplace,
        one_device_env,
        "svhn_jax.evaluate",
        "--run",
        "checkpoints/tiny",
        "--split",
        "test",
        "--step",
        "3",
    )
    table = "checkpoints/tiny/results/predictions/test-3.csv"
    same = json.loads(run(workplace, one_device_env, *compare, table, "--json"))
    assert (same["only_first"], same["only_second"], same["p_value"]) == (0, 0, 1.0)
    said = run(workplace, one_device_env, *compare, table, "--split", "validation", status=1)
    assert re.search(
        r"^error: row 1 is train/\d+\.png in checkpoints/tiny@3 and test/1\.png in .*test-3\.csv$",
        said,
        re.M,
    )


def test_watch_scores_what_a_training_saves_and_ctrl_c_loses_nothing(workplace, one_device_env):
    watch = ("svhn_jax.evaluate", "--run", "checkpoints/watched", "--split", "test", "--watch")
    with start(workplace, one_device_env, *watch) as first:  # before the run has begun
        training = start(workplace, one_device_env, *TRAIN, "--name", "watched", "--quiet")
        wait_for_line(first, "step 3: ")
        first.send_signal(signal.SIGINT)
    assert first.returncode == 130
    printed = run(workplace, one_device_env, *watch)
    assert training.communicate(timeout=60)[0] == ""
    assert training.returncode == 0
    assert "] step 3: " not in printed
    assert "] step 24: " in printed
    rows = rows_of(workplace / "checkpoints/watched/results/test.csv")
    assert [row["step"] for row in rows] == [str(step) for step in range(3, 25, 3)]


RESULTS = [
    (
        ("synthesize", "--to", "raw", "--train", "200", "--test", "30"),
        {"photos": {"train": 200, "test": 30}},
    ),
    (
        ("preprocess", "--raw", "raw", "--to", "data/tiny", "--size", "24"),
        {"to": "data/tiny", "limit": None},
    ),
    (("inspect", "data/tiny", "--verify"), {"folder": "data/tiny", "damaged": []}),
    (("inspect", "raw"), {"folder": "raw"}),
    (("train", "--config", "tiny.py"), {"step": 24, "total_steps": 24, "is_stopped": False}),
    (("evaluate", "--run", "checkpoints/tiny"), {"split": "validation"}),
    (
        ("report", "--data", "data/tiny", "--to", "json.html"),
        {"report": "json.html", "data": "data/tiny"},
    ),
    (
        ("report", "--run", "checkpoints/tiny", "--to", "json.html"),
        {"report": "json.html", "examples": 30},
    ),
]


@pytest.mark.parametrize(
    ("command", "expected"), RESULTS, ids=[" ".join(command) for command, _ in RESULTS]
)
def test_json_prints_the_result_as_one_line_and_quiet_nothing(
    workplace, one_device_env, command, expected
):
    command = (f"svhn_jax.{command[0]}", *command[1:])
    printed = run(workplace, one_device_env, *command, "--json")
    assert printed.count("\n") == 1
    values = json.loads(printed)
    assert {name: values[name] for name in expected} == expected
    assert run(workplace, one_device_env, *command, "--quiet") == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "x.html"), "give --run FOLDER or --data DIR"),
        (("--to", "x.pdf", "--data", "data/tiny"), "must end in .html"),
        (("--to", "nosuch/x.html", "--data", "data/tiny"), "there is no folder"),
        (("--to", "x.html", "--data", "nosuch"), "no prepared data set there"),
        (("--to", "x.html", "--run", "nosuch"), "no run there"),
        (("--to", "x.html", "--run", "checkpoints/tiny", "--step", "7"), "one of 3, 6"),
    ],
)
def test_report_says_in_one_line_what_it_cannot_do(workplace, one_device_env, options, said):
    assert said in run(workplace, one_device_env, "svhn_jax.report", *options, status=1)
    assert not (workplace / "x.html").exists()


def test_a_grayscale_run_is_evaluated_in_grayscale_without_being_told(workplace, one_device_env):
    run(
        workplace,
        one_device_env,
        *TRAIN,
        "--name",
        "gray",
        "--image.grayscale",
        "--num-epochs",
        "0.5",
    )
    run(
        workplace,
        one_device_env,
        *["svhn_jax.evaluate", "--run", "checkpoints/gray", "--split", "validation"],
    )
    metrics = [
        json.loads(line)
        for line in (workplace / "checkpoints/gray/metrics.jsonl").read_text().splitlines()
    ]
    row = rows_of(workplace / "checkpoints" / "gray" / "results" / "validation.csv")[-1]
    assert float(row["loss"]) == pytest.approx(metrics[-1]["loss"], abs=1e-4)


def test_the_same_command_again_has_nothing_left_to_do(workplace, one_device_env):
    printed = run(workplace, one_device_env, *TRAIN)
    assert "Restored step 24 from " in printed
    assert "Nothing left to train" in printed


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_and_ends_bit_identical(workplace, one_device_env, stop):
    name = f"stopped{stop.value}"
    command = (*TRAIN, "--name", name, "--eval-every-steps", "1000")
    with start(workplace, one_device_env, *command) as process:
        wait_for_line(process, "Step:     4")
        process.send_signal(stop)
        printed = process.stdout.read()
    assert process.returncode == 128 + stop
    assert "the same command goes on from there" in printed
    stopped_at = max(
        int(path.name) for path in (workplace / "checkpoints" / name / "steps").iterdir()
    )
    assert 4 <= stopped_at < 24
    assert f"Restored step {stopped_at} from " in run(workplace, one_device_env, *command)
    assert parameters(workplace, name) == parameters(workplace, "tiny")


def parameters(folder, name):
    """Bytes of every value of a run's last step, through Orbax itself."""
    state = ocp.PyTreeCheckpointer().restore(
        folder.resolve() / "checkpoints" / name / "steps" / "24" / "state"
    )
    return {
        jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def test_killed_at_once_the_run_goes_on_from_its_last_checkpoint(workplace, one_device_env):
    command = (*TRAIN, "--name", "killed")
    with start(workplace, one_device_env, *command) as process:
        wait_for_line(process, "Step:    12/24, validation")
        process.kill()
    assert "Restored step " in run(workplace, one_device_env, *command)
    assert parameters(workplace, "killed") == parameters(workplace, "tiny")
    rows = [
        json.loads(line)
        for line in (workplace / "checkpoints/killed/metrics.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in rows if row["split"] == "validation"] == list(range(3, 25, 3))


BAD = [
    (("svhn_jax.train",), "no --config given"),
    (("svhn_jax.train", "--config", "nosuch.py"), "nosuch.py: no such config file"),
    ((*TRAIN, "--name", "new", "--data.dir", "nosuch"), "nosuch: no prepared data set there"),
    ((*TRAIN, "--model.width", "9"), "model.width is 9, but 8 in the saved run"),
    ((*TRAIN, "--name", "new", "--image.crop", "25"), "image.crop is 25, more than the 24 pixels"),
    ((*TRAIN, "--name", "new", "--batch-size", "0"), "batch_size is 0; it must be at least 1"),
    (("svhn_jax.evaluate",), "give either --config FILE or --run FOLDER"),
    (("svhn_jax.evaluate", "--run", "nosuch"), "no run there"),
    (("svhn_jax.evaluate", "--run", "checkpoints/tiny", "--step", "lates"), "--step is 'lates'"),
    (("svhn_jax.preprocess", "--raw", "nosuch", "--to", "x"), "nosuch: no such folder"),
    (("svhn_jax.synthesize", "--to", "x", "--train", "-1"), "--train is -1"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "words"), BAD, ids=[" ".join(command) for command, _ in BAD])
def test_what_a_user_gets_wrong_is_one_line_and_status_1(workplace, one_device_env, command, words):
    printed = run(workplace, one_device_env, *command, status=1)
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert not (workplace / "checkpoints" / "new").exists()


def test_a_run_that_diverges_stops_with_one_line_and_its_good_checkpoints(
    workplace, one_device_env
):
    command = (
        *TRAIN,
        "--name",
        "diverged",
        "--optimizer.learning-rate",
        "1e30",
        "--optimizer.warmup-fraction",
        "0",
    )
    printed = run(workplace, one_device_env, *command, status=1)
    assert re.search(r"error: the loss is nan up to step \d+: the run has diverged", printed)
    assert not any((workplace / "checkpoints" / "diverged" / "steps").iterdir())


def test_changed_data_are_noticed(workplace, one_device_env, tmp_path):
    write_config(
        tmp_path, dataclasses.replace(CONFIG, runs_dir=str(tmp_path / "runs"), num_epochs=0.1)
    )
    run(
        tmp_path,
        one_device_env,
        "svhn_jax.preprocess",
        "--raw",
        str(workplace / "raw"),
        "--to",
        "data/tiny",
        "--size",
        "24",
    )
    run(tmp_path, one_device_env, *TRAIN)
    remake = (
        "svhn_jax.preprocess",
        "--raw",
        str(workplace / "raw"),
        "--to",
        "data/tiny",
        "--size",
        "24",
        "--seed",
        "1",
    )
    run(tmp_path, one_device_env, *remake)
    assert "the train data have changed" in run(tmp_path, one_device_env, *TRAIN, status=1)
    evaluate = ("svhn_jax.evaluate", "--run", "runs/tiny")
    assert "the data in data/tiny have changed since it was trained" in run(
        tmp_path, one_device_env, *evaluate, status=1
    )
    run(tmp_path, one_device_env, *evaluate, "--data", "data/tiny")
