"""The plots of a report, as SVG text for an HTML page.

Text and axes take the page's text colour, so that both themes work.
"""

import io
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from svhn_jax.inference.scores import CalibrationBin, Interval

INK = "#010203"  # stands for the page's text colour until it becomes "currentColor"
BLUE, ORANGE, GREEN = COLORS = ("#3b82f6", "#ea8a1a", "#22a06b")
STYLE: Any = {  # of matplotlib's rcParams
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "svhn_jax",  # the same plot gives the same SVG
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
}
SHADES = LinearSegmentedColormap.from_list(
    "shades", [(0.23, 0.51, 0.96, 0.0), (0.23, 0.51, 0.96, 0.65)]
)


def _axes(height: float = 3.0, **texts: Any) -> Axes:
    """Empty axes; texts: as `Axes.set`."""
    with mpl.rc_context(STYLE):
        axes = Figure((4.4, height), layout="constrained").subplots()
    axes.set(**texts)
    axes.tick_params(colors=INK)
    return axes


def _svg(axes: Axes, percent: str = "y") -> str:
    """The <svg> element of a plot; percent: the axes of shares."""
    for axis in (getattr(axes, f"{name}axis") for name in percent):
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(PercentFormatter(1, decimals=None))
    if axes.get_legend_handles_labels()[0]:  # above the axes, where it hides nothing
        place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
        axes.legend(**place, frameon=False, labelcolor=INK, fontsize=8)
    text, figure = io.StringIO(), axes.get_figure()
    assert isinstance(figure, Figure)
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    prefix = f"plot-{zlib.crc32(svg.encode()):08x}-"  # ids of several plots on one page differ
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    return svg.replace(INK, "currentColor")


def learning_curve(rows: Sequence[Mapping[str, Any]], name: str, ylabel: str) -> str:
    """One metric of training and of validation over the steps.

    Args:
      rows: as in metrics.jsonl: step, split and the metric, which may be missing or None.
      name: of the metric: "loss", which is drawn from 0 on, or an accuracy, which is a share.
    """
    is_loss = name == "loss"
    axes = _axes(xlabel="step (updates)", ylabel=ylabel)
    for split, color in (("train", BLUE), ("validation", ORANGE)):
        points = [
            (row["step"], row[name])
            for row in rows
            if row.get("split") == split and row.get(name) is not None
        ]
        if points:
            line: Any = {"marker": "." if len(points) < 30 else "", "color": color}
            axes.plot(*zip(*points, strict=True), label=split, **line)
    if is_loss:
        axes.set_ylim(bottom=0)
    return _svg(axes, "" if is_loss else "y")


def coverage_curve(kept: np.ndarray, accuracies: np.ndarray, targets: Mapping[float, float]) -> str:
    """Accuracy among the photos that are kept, over the share kept, see scores.coverage_curve.

    Args:
      targets: the coverage reached at each accuracy.
    """
    lowest = max(0, min([*accuracies, *targets]) - 0.02)
    texts: Any = {"xlabel": "coverage: photos kept", "ylabel": "whole numbers right among them"}
    axes = _axes(xlim=(0, 1.02), ylim=(lowest, 1.002), **texts)
    axes.plot(kept, accuracies, color=BLUE, drawstyle="steps-pre")
    for target, share in targets.items():
        axes.axhline(target, color=INK, lw=0.6, ls=":")
        axes.plot([share], [target], "o", color=ORANGE, ms=5)
    return _svg(axes, "xy")


def reliability(bins: Sequence[CalibrationBin]) -> str:
    """Accuracy over mean confidence for each bin; the area of a dot is its share of the photos."""
    total = max(1, sum(row.photos for row in bins))
    points = [row.confidence for row in bins], [row.accuracy for row in bins]
    limits: Any = {"xlim": (-0.02, 1.05), "ylim": (-0.02, 1.05)}
    axes = _axes(xlabel="confidence", ylabel="whole numbers right", **limits)
    axes.plot([0, 1], [0, 1], color=INK, lw=0.6, ls=":")
    axes.plot(*points, color=BLUE, lw=1)
    sizes = [8 + 200 * row.photos / total for row in bins]
    axes.scatter(*points, s=sizes, color=BLUE, alpha=0.7)
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
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=7, color=INK)
    axes.set_xticks(range(len(shown)), shown)
    axes.set_yticks(range(len(shown)), shown)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return _svg(axes, "")


def accuracy_bars(intervals: Mapping[str, tuple[Interval, int]], what: str, ylabel: str) -> str:
    """A bar with its 95 % interval for each group.

    Args:
      intervals: accuracy and number of photos by name of the group.
      what: the axis of the groups. ylabel: the axis of the accuracy.
    """
    bars = [interval for interval, _ in intervals.values()]
    shares = [one.share for one in bars]
    errors = np.array([(one.share - one.low, one.high - one.share) for one in bars])
    labels = [f"{name}\nn = {count}" for name, (_, count) in intervals.items()]
    axes = _axes(xlabel=what, ylabel=ylabel, ylim=(0, 1.02))
    axes.bar(labels, shares, color=BLUE, alpha=0.75, width=0.6)
    whiskers: Any = {"fmt": "none", "ecolor": INK, "lw": 1, "capsize": 3}
    axes.errorbar(labels, shares, yerr=np.maximum(0, errors).T, **whiskers)
    axes.grid(axis="x", visible=False)
    return _svg(axes)


def grouped_shares(groups: Mapping[str, Mapping[str, float]], xlabel: str, ylabel: str) -> str:
    """Bars side by side: for each category the share it has in each group.

    Args:
      groups: share by category, by name of the group; at most three groups.
    """
    categories = list(dict.fromkeys(name for shares in groups.values() for name in shares))
    width = 0.8 / max(1, len(groups))
    axes = _axes(xlabel=xlabel, ylabel=ylabel)
    for index, (group, shares) in enumerate(groups.items()):
        places = np.arange(len(categories)) + (index - (len(groups) - 1) / 2) * width
        heights = [shares.get(name, 0) for name in categories]
        color: Any = {"color": COLORS[index], "alpha": 0.8, "label": group}
        axes.bar(places, heights, width * 0.95, **color)
    axes.set_xticks(range(len(categories)), categories)
    axes.grid(axis="x", visible=False)
    return _svg(axes)
