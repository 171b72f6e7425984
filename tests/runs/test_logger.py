"""What a run says while it trains: its lines, and its curves in TensorBoard."""

import dataclasses
import io
import re

import jax.numpy as jnp
import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tiny import CONFIG as TINY
from tiny import random_split

from svhn_jax.runs import logger, tensorboard
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
    console = Console(file=io.StringIO(), width=40)
    return logger.RunLogger(run, console, first_step, 5_000, CONFIG, is_writer=True), console.file


def validate(written, step):
    split = random_split(4)
    written.write_validation(
        step, METRICS, split, split.labels, {"dense": {"kernel": jnp.arange(6.0)}}
    )


def test_a_line_tells_the_total_the_rate_and_the_time_left(tmp_path, clock):
    written, printed = begin(tmp_path / "run")
    with written:
        assert (
            "compiling the train step" in printed.getvalue()
        )  # before the first step is waited for
        clock[0] = 80.0
        written.write_train(1_000, METRICS, 0.002)  # 1,000 steps of 64 images in 80 s: 800 images/s
        written.pause()
        assert "compiling the evaluation step" in printed.getvalue()
        clock[0] = 100.0  # 20 s of validation for 1,000 steps
        validate(written, 1_000)
        written.resume()
        clock[0] = 140.0
        written.write_train(2_000, METRICS, 0.002)  # 40 s for as many: 1,600 images/s
    lines = [re.sub(r"^\[\d\d:\d\d:\d\d\] ", "", line) for line in printed.getvalue().splitlines()]
    assert [line for line in lines if line.startswith("Step")] == [
        "Step:  1000/5000, Loss: 5.53591, Seq Acc: 0.08, Dig Acc: 0.65, 800 images/s, 0:05:20 left",
        "Step:  1000/5000, validation: Loss: 5.53591, Seq Acc: 0.0810, Dig Acc: 0.6540",
        # 3,000 steps at 40 ms, and at 10 ms for their validations
        "Step:  2000/5000, Loss: 5.53591, Seq Acc: 0.08, Dig Acc: 0.65, 1,600 images/s, 0:02:30 left",
    ]


def test_train_and_validation_share_the_names_of_their_curves(tmp_path):
    written, _ = begin(tmp_path / "run")
    with written:
        written.write_train(2, METRICS, 0.002)
        validate(written, 3)
    train, validation = (tmp_path / "run/events" / split for split in ("train", "validation"))
    shared = {"metrics/loss", "metrics/digit_accuracy", "metrics/sequence_accuracy"}
    assert tags_of(train, "simple_value") == shared | {
        "training/learning_rate",
        "training/images_per_s",
    }
    assert tags_of(validation, "simple_value") == shared
    assert tags_of(validation, "image") == {"readings"}
    assert tags_of(validation, "histo") == {"params/dense/kernel"}
    assert tags_of(tmp_path / "run/events", "tensor") == {"config/text_summary"}


def test_a_resumed_run_hides_what_both_curves_had_after_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tensorboard.time, "time", iter(range(10**9, 2 * 10**9, 10)).__next__
    )  # names of files
    for first_step in (0, 7):
        with begin(tmp_path / "run", first_step)[0]:
            pass
    for split in ("train", "validation"):
        starts = [event.step for event in events_of(tmp_path / "run/events" / split)
                  if event.session_log.status == SessionLog.START]  # fmt: skip
        assert sorted(starts) == [1, 8]
