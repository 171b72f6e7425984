"""What TensorBoard shows of runs, asked over its HTTP interface."""

import dataclasses
import json
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import jax.numpy as jnp
import pytest
from PIL import Image
from tiny import CONFIG

from svhn_jax.config import OptimizerConfig
from svhn_jax.output import SILENT
from svhn_jax.runs.folder import RunFolder
from svhn_jax.runs.logger import RunLogger

METRICS = {"examples": 16.0, "loss": 5.5, "digit_accuracy": 0.65, "sequence_accuracy": 0.08}
RATES = {"slow": 0.001, "fast": 0.01}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The files of two runs of 4 steps, which differ in the learning rate."""
    folder = tmp_path_factory.mktemp("runs")
    params = {"dense": {"kernel": jnp.arange(6.0), "bias": jnp.zeros(3)}}
    for name, rate in RATES.items():
        config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(learning_rate=rate))
        run = RunFolder(str(folder / name))
        run.path.mkdir()
        with RunLogger(run, SILENT, 0, 4, config, is_writer=True) as logger:
            for step in (3, 4):
                logger.write_train(step, METRICS, rate)
                logger.write_validation(step, METRICS, lambda: Image.new("RGB", (96, 55)), params)
    return folder


@pytest.fixture(scope="module")
def ask(runs):
    """A function that asks a TensorBoard of these runs: (path, parameters or body) -> bytes."""
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", runs]
    command += ["--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
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
            len(json.loads(ask("plugin/scalars/tags"))) < 2 * len(RATES)
            and time.monotonic() < until
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


def test_the_configuration_is_a_text_and_compares_the_runs(ask):
    (text,) = json.loads(ask("plugin/text/text", run="slow/events", tag="config/text_summary"))
    assert re.search(r"optimizer\.learning_rate</td>\s*<td>0\.001", text["text"])
    wanted = {"experimentName": "", "sliceSize": 9, "colParams": [], "startIndex": 0}
    wanted["allowedStatuses"] = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING"]
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
