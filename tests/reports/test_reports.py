"""Reports, as HTML."""

import re

import numpy as np
import pytest
import tiny
from reports_material import prepared, scored_step

from svhn_jax import cli, report
from svhn_jax.errors import InputError
from svhn_jax.inference import scores
from svhn_jax.labels import encode
from svhn_jax.reports import data_report, page, plots, run_report


def require_sound(html):
    """Nothing is loaded from elsewhere."""
    assert all(source.startswith("data:image/") for source in re.findall(r' src="([^"]+)"', html))
    assert " href=" not in html


def test_run_report_shows_the_scores():
    scored = scored_step(200)
    html = run_report.render(scored, "test")
    require_sound(html)
    right = scored.table.is_right
    interval = scores.wilson_interval(int(right.sum()), 200)
    for expected in (
        f"{interval.share:.2%}",
        f"{interval.low:.2%} to {interval.high:.2%}",
        f"{scores.coverage(scored.table.confidence, right, 0.98):.2%}",
        f"Most confident errors (24 of {(~right).sum()})",
        f"Least confident hits (24 of {right.sum()})",
        "&lt;odd&gt;.png",
    ):
        assert expected in html
    surest = max(np.flatnonzero(~right), key=lambda row: scored.table.confidence[row])
    assert scored.table.names[surest] in html
    assert ("<odd>" in html, html.count('<img src="data:image/png')) == (False, 48)


@pytest.mark.parametrize("photos", [1, 3])
@pytest.mark.parametrize("is_right", [True, False])
def test_run_report_of_few_photos_before_the_first_row(photos, is_right):
    html = run_report.render(scored_step(photos, all_right=is_right, metrics=[]), "test")
    require_sound(html)
    assert not re.search("(Learning|Steps)</h2>", html)
    assert f"Most confident errors ({0 if is_right else photos} of" in html


def test_a_metric_that_is_missing_leaves_a_gap():
    rows = [{"step": 1, "split": "train", "loss": None}, {"step": 2, "split": "train", "loss": 1.0}]
    curve = plots.learning_curve(rows, "loss", "loss (nats)")
    assert (">train<" in curve, ">validation<" in curve) == (True, False)


def test_confusion_leaves_out_classes_without_photo():
    truths, predictions = (
        np.stack([encode([*map(int, text)]) for text in texts])
        for texts in (("12", "3"), ("12", "8"))
    )
    digits = scores.confusion(truths[:, 1:], predictions[:, 1:], 11)
    svg = plots.confusion(digits, [*map(str, range(10)), "none"], "digit")
    names = set(re.findall(r">([^<>\n]+)</text>", svg))
    assert {"1", "2", "3", "8", "none", "predicted digit", "true digit"} <= names
    assert not {"0", "4", "5", "6", "9"} & names


def test_page_escapes_texts():
    table = page.table(["<c>"], [["<x>"]])
    html = page.render("<t>", "a & b", [("<n>", "1", "")], [("<h>", "<p>", [table])])
    assert not re.search(r"<[tnhcx]>", html)
    assert "a &amp; b" in html


def test_data_report(tmp_path):
    html = data_report.render(prepared(tmp_path))
    require_sound(html)
    for expected in (
        "Digit 1",
        "train photos",
        "validation photos",
        "train/9.png",
        "&lt;damaged&gt;",
        "lower than 10 pixels",
    ):
        assert expected in html
    labels = tmp_path / "data" / "train" / "labels.npy"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\7")
    with pytest.raises(InputError, match="damaged") as caught:
        data_report.render(tmp_path / "data")
    assert caught.value.details == ("train/labels.npy",)


def test_shapes_that_few_published_numbers_have_are_suspicious():
    targets = np.array([encode([*map(int, text)]) for text in ("1", "1", "1111", "123456", "7")])
    boxes = np.array([[5.0, 5, 10, 20]] * 5)
    boxes[1, 2], boxes[3], boxes[4, 0] = 30, (5, 5, 40, 20), -2
    found = data_report.find_suspicious(targets, boxes, np.array([[60, 40]] * 5))
    assert {reason: rows.tolist() for reason, rows in found.items()} == {
        "its box reaches past the photo's edge": [4],
        "more than 5 digits": [3],
        "very wide for so few digits": [1],
        "very narrow for so many digits": [2],
    }


def test_longer_numbers_show_every_length_and_position(tmp_path):
    tiny.prepare(tmp_path / "data", 300, max_digits=12)
    titles = re.findall(r"<h3>([^<]+)</h3><img", data_report.render(tmp_path / "data"))
    assert titles == ["Lengths", *(f"Digit {n}" for n in range(1, 13))]
    require_sound(run_report.render(scored_step(300, max_digits=12), "test"))


def test_data_report_without_any_photo_is_refused(tmp_path):
    tiny.prepare(tmp_path / "data", 0)
    with pytest.raises(InputError, match="data: has no photo"):
        data_report.render(tmp_path / "data")


def test_the_command(tmp_path, capfd):
    run, _, _ = tiny.save_run(tmp_path)
    file = tmp_path / "page.html"
    for options in (
        ["--run", str(run.path), "--split", "validation"],
        ["--data", run.path.parent / "data"],
    ):
        assert cli.call(report.Options, report.main, ["--to", str(file), *map(str, options)]) == 0
        require_sound(file.read_text())
    for options, word in (
        ([], "--run"),
        (["--run", "nowhere"], "nowhere"),
        (["--step", "all"], ""),
    ):
        assert cli.call(report.Options, report.main, ["--to", str(file), *options]) == 1
        assert word in capfd.readouterr().err
