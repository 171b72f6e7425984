"""A data set and a scored step, for the tests of the reports."""

import json
from types import SimpleNamespace

import numpy as np
import tiny

from svhn_jax.data import arrays
from svhn_jax.inference.scoring import PredictionTable, Scored, summarize

TRAINED = [
    {"step": step, "split": name, "loss": 3 / step, "sequence_accuracy": 1 - 1 / step}
    for step in range(1, 50)
    for name in ("train", "validation")
]


def prepared(tmp_path):
    """A prepared data set of 12 train and 10 validation photos, with a skipped record."""
    folder = tmp_path / "data"
    tiny.prepare(folder, 12, validation=10)
    manifest = json.loads((folder / arrays.MANIFEST).read_text())
    skipped = [{"name": "9.png", "reason": "it is <damaged>"}]
    source = {"kept": 22, "path": "raw", "skipped": skipped}
    manifest["sources"] = {"train": source}
    (folder / arrays.MANIFEST).write_text(json.dumps(manifest))
    return folder


def scored_step(photos, *, all_right=None, max_digits=5, metrics=TRAINED):
    """Random predictions for random images; half of them right unless `all_right` is given."""
    split, rng = tiny.random_split(photos, max_digits=max_digits), np.random.default_rng(1)
    is_wrong = rng.random(photos) < 0.5 if all_right is None else np.full(photos, not all_right)
    predictions = split.labels.copy()
    predictions[is_wrong, 1] = (predictions[is_wrong, 1] + 1) % 10
    confidence = rng.random(photos)
    confidence[0] = float(is_wrong[0])  # so that the odd name is on the page
    names = ["<odd>.png" if n == 0 else name.decode() for n, name in enumerate(split.names)]
    digit_p = np.where(predictions[:, 1:] < 10, 0.9, np.nan)
    table = PredictionTable(names, split.labels, predictions, confidence, confidence, digit_p)
    scores = {"loss": 0.5, "digit_accuracy": 0.9, "length_accuracy": 0.97} | summarize(table)
    run = SimpleNamespace(metrics=lambda: metrics, config=lambda: tiny.CONFIG)
    return Scored(run, split, "data/demo", "test", 40, scores, table)
