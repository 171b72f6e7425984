"""Lines that a run prints while it trains, and its curves and pictures for TensorBoard."""

import dataclasses
import re

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tiny import CONFIG as TINY

from svhn_jax.output import Terminal
from svhn_jax.runs import logger
from svhn_jax.runs.folder import RunFolder

CONFIG = dataclasses.replace(TINY, batch_size=64)
METRICS = {"examples": 16.0, "loss": 5.53591, "digit_accuracy": 0.654, "sequence_accuracy": 0.081}


def events_of(folder):
    """Every event of the files in a folder, oldest file first."""
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # a record: length (8 bytes), checksum (4), content, checksum (4)
            size = int.from_bytes(data[at : at + 8], "little")
            yield Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16


def tags_of(folder, kind):
    values = [value for event in events_of(folder) for value in event.summary.value]
    return {value.tag for value in values if value.WhichOneof("value") == kind}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [0.0]
    monkeypatch.setattr(logger.time, "perf_counter", lambda: now[0])
    return now


def begin(folder, first_step=0):
    run = RunFolder(str(folder))
    run.path.mkdir(exist_ok=True)
    return logger.RunLogger(run, Terminal(), first_step, 5_000, CONFIG, is_writer=True)


def validate(written, step):
    written.write_validation(step, METRICS)


def test_a_line_has_the_total_the_rate_and_the_time_left(tmp_path, clock, capsys):
    with begin(tmp_path / "run") as written:
        assert "compiling the train step" in capsys.readouterr().out
        clock[0] = 80.0
        written.write_train(1_000, METRICS, 0.002)  # 1,000 steps of 64 images in 80 s: 800 images/s
        clock[0] = 100.0  # 20 s of validation for 1,000 steps
        validate(written, 1_000)
        clock[0] = 140.0
        written.write_train(2_000, METRICS, 0.002)  # 40 s for as many: 1,600 images/s
    printed = re.sub(r"(?m)^\[\d\d:\d\d:\d\d\] ", "", capsys.readouterr().out)
    assert [line for line in printed.splitlines() if line.startswith("Step")] == [
        "Step:  1000/5000, Loss: 5.53591, Seq Acc: 0.08, Dig Acc: 0.65, 800 images/s, 0:05:20 left",
        "Step:  1000/5000, validation: Loss: 5.53591, Seq Acc: 0.0810, Dig Acc: 0.6540",
        # 3,000 steps at 70 ms, validations included
        "Step:  2000/5000, Loss: 5.53591, Seq Acc: 0.08, Dig Acc: 0.65, 1,600 images/s, "
        "0:03:30 left",
    ]


def test_train_and_validation_share_the_names_of_their_curves(tmp_path):
    with begin(tmp_path / "run") as written:
        written.write_train(2, METRICS, 0.002)
        validate(written, 3)
    train, validation = (tmp_path / "run/events" / split for split in ("train", "validation"))
    shared = {"metrics/loss", "metrics/digit_accuracy", "metrics/sequence_accuracy"}
    training = {"training/learning_rate", "training/images_per_s"}
    assert tags_of(train, "simple_value") == shared | training
    assert tags_of(validation, "simple_value") == shared
    assert [row["split"] for row in RunFolder(str(tmp_path / "run")).metrics()] == [
        "train",
        "validation",
    ]


def test_a_resumed_run_hides_events_after_its_checkpoint(tmp_path, monkeypatch):
    times = iter(range(10**9, 2 * 10**9, 10))  # names of files
    monkeypatch.setattr(logger.time, "time", times.__next__)
    for first_step in (0, 7):
        with begin(tmp_path / "run", first_step):
            pass
    for split in ("train", "validation"):
        starts = [
            event.step
            for event in events_of(tmp_path / "run/events" / split)
            if event.session_log.status == SessionLog.START
        ]
        assert sorted(starts) == [1, 8]


def test_a_process_that_writes_nothing_makes_no_file(tmp_path):
    run = RunFolder(str(tmp_path))
    with logger.RunLogger(run, Terminal(), 0, 9, CONFIG, is_writer=False) as written:
        written.write_train(2, METRICS, 0.002)
        validate(written, 3)
    assert list(tmp_path.iterdir()) == []
