"""What TensorBoard shows of runs, asked over its HTTP interface; and that drawing does not hold up the loop."""

import dataclasses
import io
import json
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny import CONFIG, random_split

from svhn_jax.config import OptimizerConfig
from svhn_jax.runs import tensorboard
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.logger import RunLogger
from svhn_jax.runs.tensorboard import Drawings, EventFile

METRICS = {"examples": 16.0, "loss": 5.5, "digit_accuracy": 0.65, "sequence_accuracy": 0.08}
RATES = {"slow": 0.001, "fast": 0.01}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What two runs of 4 steps, which differ in the learning rate, wrote."""
    folder = tmp_path_factory.mktemp("runs")
    split, params = random_split(40), {"dense": {"kernel": jnp.arange(6.0), "bias": jnp.zeros(3)}}
    for name, rate in RATES.items():
        config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(learning_rate=rate))
        run = RunFolder(str(folder / name))
        run.path.mkdir()
        console = Console(file=io.StringIO())
        with RunLogger(run, console, 0, 4, config, is_writer=True) as logger:
            for step in (3, 4):
                logger.write_train(step, METRICS, rate)
                logger.write_validation(step, METRICS, split, split.labels, params)
    return folder


@pytest.fixture(scope="module")
def ask(runs):
    """A function that asks a TensorBoard of these runs, once it has loaded them: (path, parameters or body) -> bytes."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tensorboard.main",
        "--logdir",
        runs,
        "--port",
        "0",
    ]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1"], stderr=subprocess.PIPE, text=True
    ) as server:
        address = next(
            found[0]
            for line in server.stderr
            if (found := re.search(r"http://127\.0\.0\.1:\d+/", line))
        )
        threading.Thread(target=server.stderr.read, daemon=True).start()

        def ask(path, body=None, **parameters):
            data = json.dumps(body).encode() if body else None
            url = f"{address}data/{path}?{urllib.parse.urlencode(parameters)}"
            request = urllib.request.Request(
                url, data, {"Content-Type": "application/json"} if body else {}
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.read()

        until = time.monotonic() + 60
        while (
            len(json.loads(ask("plugin/histograms/tags"))) < len(RATES) and time.monotonic() < until
        ):
            time.sleep(0.5)
        try:
            yield ask
        finally:
            server.terminate()


def test_training_and_validation_share_their_charts(ask):
    tags = json.loads(ask("plugin/scalars/tags"))
    for name in RATES:
        train, validation = (
            set(tags[f"{name}/events/{split}"]) for split in ("train", "validation")
        )
        shared = {"metrics/loss", "metrics/sequence_accuracy", "metrics/digit_accuracy"}
        assert shared <= train & validation
        assert {"training/learning_rate", "training/images_per_s"} <= train - validation
    points = json.loads(
        ask("plugin/scalars/scalars", run="fast/events/validation", tag="metrics/loss")
    )
    assert [step for _, step, _ in points] == [3, 4]


def test_panels_show_photos_with_readings(ask):
    (entry, *_) = json.loads(
        ask("plugin/images/images", run="fast/events/validation", tag="readings", sample=0, index=0)
    )
    with Image.open(io.BytesIO(ask(f"plugin/images/individualImage?{entry['query']}&"))) as picture:
        assert (picture.width, picture.height) == (960, 552)


def test_every_weight_has_a_histogram(ask):
    tags = json.loads(ask("plugin/histograms/tags"))["fast/events/validation"]
    assert tags.keys() == {"params/dense/kernel", "params/dense/bias"}
    points = json.loads(
        ask("plugin/histograms/histograms", run="fast/events/validation", tag=next(iter(tags)))
    )
    assert {step for _, step, _ in points} == {3, 4}


def test_the_configuration_is_a_text_and_compares_the_runs(ask):
    (text,) = json.loads(ask("plugin/text/text", run="slow/events", tag="config/text_summary"))
    assert re.search(r"optimizer\.learning_rate</td>\s*<td>0\.001", text["text"])
    wanted = {"experimentName": "", "sliceSize": 9, "colParams": [], "startIndex": 0,
              "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING"]}  # fmt: skip
    experiment = json.loads(
        ask("plugin/hparams/experiment", {"experimentName": "", "includeMetrics": True})
    )
    assert {"optimizer.learning_rate", "model.width", "augment.scale"} <= {
        one["name"] for one in experiment["hparamInfos"]
    }
    metrics = [one["name"] for one in experiment["metricInfos"]]
    assert {"group": "validation", "tag": "metrics/sequence_accuracy"} in metrics
    columns = [{"hparam": "optimizer.learning_rate"}, *({"metric": name} for name in metrics)]
    sorted_by = wanted | {"colParams": [column | {"includeInResult": True} for column in columns]}
    groups = json.loads(ask("plugin/hparams/session_groups", sorted_by))["sessionGroups"]
    assert {group["hparams"]["optimizer.learning_rate"] for group in groups} == set(RATES.values())
    for group in groups:
        shown = {(one["name"]["group"], one["name"]["tag"]) for one in group["metricValues"]}
        assert {("validation", "metrics/sequence_accuracy"), ("train", "metrics/loss")} <= shown


@pytest.fixture
def drawn(tmp_path):
    events = EventFile(str(tmp_path), 0)
    yield Drawings(events)
    events.close()


def add(drawn, step):
    split = random_split(4)
    drawn.add(step, split, split.labels, {"kernel": jnp.arange(6.0)})


def test_adding_returns_before_anything_is_drawn(drawn, monkeypatch):
    may_draw = threading.Event()
    monkeypatch.setattr(
        tensorboard, "contact_sheet", lambda *_: may_draw.wait(60) and Image.new("RGB", (1, 1))
    )
    add(drawn, 1)
    drawn.raise_if_failed()  # does not wait either
    assert not may_draw.is_set()
    may_draw.set()
    drawn.close(is_failing=False)


def test_a_drawing_that_fails_at_the_end_leaves_no_thread_and_no_open_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "contact_sheet", lambda *_: 1 / 0)
    log = RunLogger(RunFolder(str(tmp_path)), Console(quiet=True), 0, 9, CONFIG, is_writer=True)
    closed, close = [], EventFile.close
    monkeypatch.setattr(EventFile, "close", lambda events: closed.append(events) or close(events))
    with pytest.raises(ZeroDivisionError), log:
        add(log._drawings, 1)
    assert closed == [*log._events.values()]
    assert log._drawings._thread._shutdown


@pytest.mark.parametrize("call", ["raise_if_failed", "wait", "add", "close"])
def test_an_error_of_drawing_is_raised_at_the_next_call(drawn, monkeypatch, call):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboard, "contact_sheet", fail)
    add(drawn, 1)
    while not drawn._running.done():
        time.sleep(0.01)
    with pytest.raises(OSError, match="No space left"):
        add(drawn, 2) if call == "add" else drawn.close(
            is_failing=False
        ) if call == "close" else getattr(drawn, call)()


def test_weights_that_are_not_finite_are_left_out(drawn):
    split = random_split(2)
    drawn.add(1, split, split.labels, {"a": jnp.array([1.0, np.nan]), "b": jnp.array([np.inf])})
    drawn.close(is_failing=False)
