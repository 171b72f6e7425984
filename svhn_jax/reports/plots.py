"""The plots of a report, as SVG text: each function draws one."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from svhn_jax.inference import scores

BLUE, ORANGE, GREEN = COLORS = ("#3b82f6", "#ea8a1a", "#22a06b")
STYLE: Any = {  # of matplotlib's rcParams
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "svhn_jax",  # the same plot gives the same SVG
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.25,
}
THIN: Any = {"color": "black", "lw": 0.6, "ls": ":"}


def _axes(height: float = 3.0, **texts: Any) -> Axes:
    """Empty axes; texts: as `Axes.set`."""
    with mpl.rc_context(STYLE):
        axes = Figure((4.4, height), layout="constrained").subplots()
    axes.set(**texts)
    return axes


def _svg(axes: Axes, percent: str = "y") -> str:
    """The <svg> element of a plot; percent: the axes of shares."""
    for axis in (getattr(axes, f"{name}axis") for name in percent):
        axis.set_major_formatter(PercentFormatter(1, decimals=None))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    text, figure = io.StringIO(), axes.get_figure()
    assert isinstance(figure, Figure)
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def learning_curve(rows: Sequence[Mapping[str, Any]], name: str, ylabel: str) -> str:
    """One metric of training and of validation over the steps.

    Args:
      rows: as in metrics.jsonl: step, split and the metric, which may be missing or None.
      name: of the metric: "loss", or an accuracy, which is a share.
    """
    axes = _axes(xlabel="step (updates)", ylabel=ylabel)
    for split, color in (("train", BLUE), ("validation", ORANGE)):
        there = [row for row in rows if row.get("split") == split and row.get(name) is not None]
        if there:
            steps, values = [row["step"] for row in there], [row[name] for row in there]
            axes.plot(steps, values, ".-", ms=3, color=color, label=split)
    return _svg(axes, "" if name == "loss" else "y")


def coverage(confidence: np.ndarray, is_right: np.ndarray) -> str:
    """Accuracy among the most confident photos over their share, see scores.coverage_curve."""
    kept, accuracies = scores.coverage_curve(confidence, is_right)
    axes = _axes(xlabel="coverage: photos kept", ylabel="whole numbers right among them")
    axes.plot(kept, accuracies, color=BLUE, drawstyle="steps-pre")
    for target in scores.COVERAGE_TARGETS:
        axes.axhline(target, **THIN)
        axes.plot([scores.coverage(confidence, is_right, target)], [target], "o", color=ORANGE)
    return _svg(axes, "xy")


def reliability(confidence: np.ndarray, is_right: np.ndarray) -> str:
    """Accuracy over mean confidence for each bin; the area of a dot is its share of the photos."""
    photos, sure, right = zip(*scores.calibration_bins(confidence, is_right), strict=True)
    axes = _axes(xlabel="confidence", ylabel="whole numbers right")
    axes.plot([0, 1], [0, 1], **THIN)
    axes.plot(sure, right, color=BLUE, lw=1)
    sizes = 8 + 200 * np.array(photos) / len(confidence)
    axes.scatter(sure, right, s=sizes, color=BLUE, alpha=0.7)
    return _svg(axes, "xy")


def confusion(matrix: np.ndarray, names: Sequence[str], what: str) -> str:
    """A confusion matrix: counts, shaded by their share of the row.

    Args:
      matrix: int[K, K], truth in rows and prediction in columns.
      names: of the K classes. A class without a photo in row and column is left out.
      what: "digit" or "length", for the axes.
    """
    there = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    matrix, shown = matrix[np.ix_(there, there)], [names[int(index)] for index in there]
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    axes = _axes(4.4, xlabel=f"predicted {what}", ylabel=f"true {what}")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.6)  # 1.6: the text stays black
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(shown)), shown)
    axes.set_yticks(range(len(shown)), shown)
    axes.grid(visible=False)
    return _svg(axes, "")


def accuracy_bars(groups: Mapping[Any, tuple[int, int]], what: str, ylabel: str) -> str:
    """A bar with its 95 % interval (Wilson) for each group.

    Args:
      groups: right and number of photos by name of the group.
      what: the axis of the groups. ylabel: the axis of the accuracy.
    """
    bars = [scores.wilson_interval(*counts) for counts in groups.values()]
    shares = [one.share for one in bars]
    errors = np.array([(one.share - one.low, one.high - one.share) for one in bars])
    labels = [f"{name}\nn = {count}" for name, (_, count) in groups.items()]
    axes = _axes(xlabel=what, ylabel=ylabel, ylim=(0, 1.02))
    axes.bar(labels, shares, color=BLUE, alpha=0.75, width=0.6)
    axes.errorbar(labels, shares, np.maximum(0, errors).T, fmt="none", ecolor="black", capsize=3)
    return _svg(axes)


def grouped_shares(groups: Mapping[str, np.ndarray], names: Sequence[str], xlabel: str) -> str:
    """Bars side by side: for each category the share it has in each group.

    Args:
      groups: int[K], counts by category, by name of the group; at most three groups.
      names: of the K categories.
    """
    axes, width = _axes(xlabel=xlabel, ylabel="photos"), 0.8 / len(groups)
    for index, (group, counts) in enumerate(groups.items()):
        places = np.arange(len(names)) + (index - (len(groups) - 1) / 2) * width
        shares = counts / max(1, counts.sum())
        axes.bar(places, shares, width * 0.95, color=COLORS[index], alpha=0.8, label=group)
    axes.set_xticks(range(len(names)), names)
    return _svg(axes)
