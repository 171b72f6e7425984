"""A data set and the results of a run, for the tests of the reports."""

import json

import numpy as np
import tiny

from svhn_jax.data import arrays
from svhn_jax.inference.predictions import PredictionTable, summarize
from svhn_jax.reports.run_report import RunResults


def prepared(tmp_path):
    """A prepared data set with 12 train and 10 validation photos, a skipped record and a noted one."""
    folder = tmp_path / "data"
    tiny.prepare(folder, 12, validation=10)
    manifest = json.loads((folder / arrays.MANIFEST).read_text())
    skipped = [{"name": "9.png", "reason": "it is <damaged>"}]
    manifest["sources"] = {
        "train": {
            "kept": 22,
            "path": "raw",
            "noted": {"a box reaches past the photo's edge": 2},
            "skipped": skipped,
        }
    }
    (folder / arrays.MANIFEST).write_text(json.dumps(manifest))
    return folder


def run_results(photos, *, all_right=None, max_digits=5):
    """Random predictions for random images; half of them right unless `all_right` says."""
    split, rng = tiny.random_split(photos, max_digits=max_digits), np.random.default_rng(1)
    is_wrong = rng.random(photos) < 0.5 if all_right is None else np.full(photos, not all_right)
    predictions = split.labels.copy()
    predictions[is_wrong, 1] = (predictions[is_wrong, 1] + 1) % 10
    confidence = rng.random(photos)
    confidence[0] = float(is_wrong[0])  # so that the odd name is on the page
    names = ["<odd>.png" if n == 0 else name.decode() for n, name in enumerate(split.names)]
    digit_p = np.where(predictions[:, 1:] < 10, 0.9, np.nan)
    metrics = [
        {
            "step": step,
            "split": name,
            "loss": 3 / step,
            "sequence_accuracy": 1 - 1 / step,
            "digit_accuracy": 0.9,
        }
        for step in range(1, 50)
        for name in ("train", "validation")
    ]
    summary = {
        "loss": 0.5,
        "digit_accuracy": 0.9,
        "positional_digit_accuracy": 0.95,
        "length_accuracy": 0.97,
    }
    table = PredictionTable(names, split.labels, predictions, confidence, confidence, digit_p)
    summary |= summarize(table)
    results = [{"step": 40, "loss": 0.5, "sequence_accuracy": 0.5, "digit_accuracy": 0.9}]
    return RunResults(
        "demo", "test", "data/demo", 40, metrics, results, summary, table, split.images, '{"a": 1}'
    )
