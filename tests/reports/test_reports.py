"""Reports are looked at in a browser too: tests/reports/test_in_browser.py."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny
from reports_material import prepared, run_results

from svhn_jax.errors import InputError
from svhn_jax.inference import scores
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.labels import encode_text
from svhn_jax.reports import data_report, page, plots, run_report
from svhn_jax.reports.page import Section, Table
from svhn_jax.runs.folder import RunFolder


class Ids(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.ids, self.links, self.outside = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href", "src"):
                (self.links if value.startswith("#") else self.outside).append(value)


def require_sound(html):
    """Every link inside the page has its target, no id occurs twice, and nothing is loaded from elsewhere."""
    found = Ids(html)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links} | set(re.findall(r"url\(#([^)]+)\)", html)) <= set(
        found.ids
    )
    assert all(target.startswith("data:image/png;base64,") for target in found.outside)
    assert "currentColor" in html
    assert plots.INK not in html


def test_run_report_says_what_the_scores_say():
    run = run_results(200)
    html = run_report.render(run)
    require_sound(html)
    right = run.table.is_right
    interval = scores.wilson_interval(int(right.sum()), 200)
    for expected in (
        f"{interval.share:.2%}",
        f"{interval.low:.2%} to {interval.high:.2%}",
        f"{scores.coverage(run.table.confidence, right, 0.98):.2%}",
        f"Most confident errors (24 of {(~right).sum()})",
        f"Least confident hits (24 of {right.sum()})",
        "&lt;odd&gt;.png",
    ):
        assert expected in html
    assert "<odd>" not in html
    surest = max(np.flatnonzero(~right), key=lambda row: run.table.confidence[row])
    assert html.index(run.table.names[surest]) > 0
    assert html.count("<img") == 48


@pytest.mark.parametrize("photos", [1, 3])
@pytest.mark.parametrize("is_right", [True, False])
def test_run_report_of_few_photos_without_validation(photos, is_right):
    run = run_results(photos, all_right=is_right)._replace(metrics=[], results=[])
    html = run_report.render(run)
    require_sound(html)
    assert not re.search("(Learning|Steps)</h2>", html)
    assert ("Most confident errors" in html) == (not is_right)


def test_run_report_of_a_run_that_has_not_been_validated():
    run = run_results(3)
    rows = [row for row in run.metrics if row["split"] == "train"]
    assert "has not been validated yet" in run_report.render(run._replace(metrics=rows))


def test_a_metric_that_is_null_leaves_a_gap():
    rows = [{"step": 1, "split": "train", "loss": None}, {"step": 2, "split": "train", "loss": 1.0}]
    assert "train" in plots.learning_curve(rows, "loss", "loss (nats)")
    assert "validation" not in plots.learning_curve(rows, "loss", "loss (nats)")


def test_confusion_leaves_out_classes_without_photo():
    truths, predictions = (
        np.stack([encode_text(t) for t in texts]) for texts in (("12", "3"), ("12", "8"))
    )
    svg = plots.confusion(
        scores.digit_confusion(truths, predictions), [*map(str, range(10)), "none"], "digit"
    )
    names = re.findall(r">([^<>\n]+)</text>", svg)
    assert {"1", "2", "3", "8", "none", "predicted digit", "true digit"} <= set(names)
    assert not {"0", "4", "5", "6", "9"} & set(names)


def test_page_escapes_texts():
    html = page.render(
        "<t>",
        "a & b",
        [("<n>", "1", "")],
        [Section("s", "<h>", tables=[Table(["<c>"], [["<x>"]])])],
    )
    assert not re.search(r"<[tnhcx]>", html)
    assert "a &amp; b" in html


def test_data_report(tmp_path):
    folder = prepared(tmp_path)
    html = data_report.render(folder)
    require_sound(html)
    for expected in (
        "Digit 1",
        "train photos",
        "validation photos",
        "train/9.png",
        "it is &lt;damaged&gt;",
        "reaches past",
    ):
        assert expected in html


def test_plots_are_the_same_each_time():
    bins = [scores.CalibrationBin(3, 0.5, 0.4)]
    assert plots.reliability(bins) == plots.reliability(bins)


def test_no_table_without_photos():
    empty = PredictionTable([], *(column[:0] for column in run_results(1).table[1:]))
    assert empty.is_right.shape == (0,)


def texts_of(svg):
    return re.findall(r">([^<>\n]+)</text>", svg)


def test_reports_of_longer_numbers_show_every_length_and_position_in_order(tmp_path):
    tiny.prepare(tmp_path / "data", 300, max_digits=12)
    lengths = re.findall(
        r"<h3>([^<]+)</h3>(<svg.*?</svg>)", data_report.render(tmp_path / "data"), re.DOTALL
    )
    assert [name for name, _ in lengths if name.startswith("Digit ")] == [
        f"Digit {n}" for n in range(1, 13)
    ]
    shown = texts_of(dict(lengths)["Lengths"])
    assert shown[:12] == [str(n) for n in range(1, 13)]
    run = run_report.render(run_results(300, max_digits=12))
    require_sound(run)
    assert "of 12, blanks counted" in run


def test_data_report_of_one_photo_without_other_splits(tmp_path):
    tiny.prepare(tmp_path / "data", 1)
    html = data_report.render(tmp_path / "data")
    require_sound(html)
    assert "1 train" in html


def test_data_report_without_any_photo_is_refused(tmp_path):
    tiny.prepare(tmp_path / "data", 0)
    with pytest.raises(InputError, match=r"data: has no photo; preprocess others"):
        data_report.render(tmp_path / "data")


def test_report_of_a_run_that_is_still_being_written(tmp_path):
    """The last line of metrics.jsonl is torn, and no step was validated or scored yet."""
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 2, "split": "train", "loss": 1.5}\n{"step": 4, "spl'
    )
    rows = RunFolder(str(tmp_path)).metrics()
    assert [row["step"] for row in rows] == [2]
    html = run_report.render(run_results(3)._replace(metrics=rows, results=[]))
    require_sound(html)
    assert "has not been validated yet" in html
