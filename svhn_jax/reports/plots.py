"""The plots of a report, as SVG text for an HTML page. Text and axes take the page's text colour, so that both themes work."""

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

INK = "#010203"  # stands for the page's text colour until `_svg` writes "currentColor"
BLUE, ORANGE, GREEN = "#3b82f6", "#ea8a1a", "#22a06b"
PANEL = (4.4, 3.0)  # inches of one pair of axes
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


def learning_curve(rows: Sequence[Mapping[str, Any]], name: str, ylabel: str) -> str:
    """One metric of training and of validation over the steps: where the two part, the network overfits.

    Args:
      rows: as in metrics.jsonl: step, split and the metric, which may be missing or None.
      name: of the metric: "loss", which is drawn from 0 on, or an accuracy, which is a share.
    """
    figure, axes = _axes()
    for split, color in (("train", BLUE), ("validation", ORANGE)):
        points = [
            (row["step"], row[name])
            for row in rows
            if row.get("split") == split and row.get(name) is not None
        ]
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(
                steps,
                values,
                color=color,
                label=split,
                lw=1.4,
                marker="." if len(points) < 30 else "",
            )
    axes.set(xlabel="step (updates)", ylabel=ylabel)
    if name == "loss":
        axes.set_ylim(bottom=0)
    else:
        _percent(axes.yaxis)
    _legend(axes)
    return _svg(figure)


def coverage_curve(kept: np.ndarray, accuracies: np.ndarray, targets: Mapping[float, float]) -> str:
    """Accuracy among the photos that are kept, over the share kept (see svhn_jax.inference.scores.coverage_curve).

    Args:
      targets: the coverage reached at each accuracy.
    """
    figure, axes = _axes()
    axes.plot(kept, accuracies, color=BLUE, lw=1.4, drawstyle="steps-pre")
    lowest = min([*accuracies, *targets])
    for target, share in targets.items():
        axes.axhline(target, color=INK, lw=0.6, ls=":")
        axes.plot([share], [target], "o", color=ORANGE, ms=5)
    axes.set(
        xlabel="coverage: photos kept", ylabel="whole numbers right among them", xlim=(0, 1.02)
    )
    axes.set_ylim(max(0, lowest - 0.02), 1.002)
    _percent(axes.xaxis, axes.yaxis)
    return _svg(figure)


def reliability(bins: Sequence[CalibrationBin]) -> str:
    """The reliability diagram: accuracy over mean confidence for each bin; the area of a dot is its share of the photos."""
    figure, axes = _axes()
    total = max(1, sum(row.photos for row in bins))
    axes.plot([0, 1], [0, 1], color=INK, lw=0.6, ls=":")
    axes.plot([row.confidence for row in bins], [row.accuracy for row in bins], color=BLUE, lw=1)
    sizes = [8 + 200 * row.photos / total for row in bins]
    axes.scatter(
        [row.confidence for row in bins],
        [row.accuracy for row in bins],
        s=sizes,
        color=BLUE,
        alpha=0.7,
    )
    axes.set(
        xlabel="confidence", ylabel="whole numbers right", xlim=(-0.02, 1.05), ylim=(-0.02, 1.05)
    )
    _percent(axes.xaxis, axes.yaxis)
    return _svg(figure)


def confusion(matrix: np.ndarray, names: Sequence[str], what: str) -> str:
    """A confusion matrix: counts, shaded by their share of the row.

    Args:
      matrix: int[K, K], truth in rows and prediction in columns.
      names: of the K classes. A class without a photo in row and column is left out.
      what: "digit" or "length", for the axes.
    """
    is_there = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    matrix, names = (
        matrix[np.ix_(is_there, is_there)],
        [n for n, there in zip(names, is_there, strict=True) if there],
    )
    with mpl.rc_context(
        STYLE | {"axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False}
    ):
        figure = Figure((PANEL[0], PANEL[0]), layout="constrained")
        axes = figure.subplots()
        axes.imshow(
            matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True)), cmap=SHADES, vmin=0, vmax=1
        )
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                axes.text(
                    column,
                    row,
                    f"{count}",
                    ha="center",
                    va="center",
                    fontsize=7 if count < 1000 else 6,
                )
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.set(xlabel=f"predicted {what}", ylabel=f"true {what}")
    return _svg(figure)


def accuracy_bars(intervals: Mapping[str, tuple[Interval, int]], what: str, ylabel: str) -> str:
    """A bar with its 95 % interval for each group.

    Args:
      intervals: accuracy and number of photos by name of the group.
      what: the groups have in common, for the axis.
      ylabel: what the accuracy is of.
    """
    figure, axes = _axes()
    shares = [interval.share for interval, _ in intervals.values()]
    errors = [(i.share - i.low, i.high - i.share) for i, _ in intervals.values()]
    labels = [f"{name}\nn = {count}" for name, (_, count) in intervals.items()]
    axes.bar(labels, shares, color=BLUE, alpha=0.75, width=0.6)
    axes.errorbar(
        labels,
        shares,
        yerr=np.maximum(0, np.array(errors)).T,
        fmt="none",
        ecolor=INK,
        lw=1,
        capsize=3,
    )
    axes.set(xlabel=what, ylabel=ylabel, ylim=(0, 1.02))
    axes.grid(axis="x", visible=False)
    _percent(axes.yaxis)
    return _svg(figure)


def grouped_shares(groups: Mapping[str, Mapping[str, float]], xlabel: str, ylabel: str) -> str:
    """Bars side by side: for each category the share it has in each group.

    Args:
      groups: share by category, by name of the group; at most three groups.
    """
    figure, axes = _axes()
    categories = list(dict.fromkeys(name for shares in groups.values() for name in shares))
    width = 0.8 / max(1, len(groups))
    for index, ((group, shares), color) in enumerate(
        zip(groups.items(), (BLUE, ORANGE, GREEN), strict=False)
    ):
        places = np.arange(len(categories)) + (index - (len(groups) - 1) / 2) * width
        axes.bar(
            places,
            [shares.get(name, 0) for name in categories],
            width * 0.95,
            color=color,
            alpha=0.8,
            label=group,
        )
    axes.set_xticks(range(len(categories)), categories)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(axis="x", visible=False)
    _legend(axes)
    _percent(axes.yaxis)
    return _svg(figure)


def histograms(
    groups: Mapping[str, np.ndarray], xlabel: str, ylabel: str = "share of photos"
) -> str:
    """Outlines of the distribution of a positive quantity in each group, on a logarithmic axis."""
    figure, axes = _axes()
    values = [group[group > 0] for group in groups.values()]
    joined = np.concatenate([*values, np.ones(0)])
    if len(joined):
        edges = np.geomspace(joined.min(), joined.max() * 1.001 + 1e-9, 33)
        for (name, _), one, color in zip(
            groups.items(), values, (BLUE, ORANGE, GREEN), strict=False
        ):
            counts = np.histogram(one, edges)[0]
            axes.stairs(counts / max(1, len(one)), edges, color=color, label=name, lw=1.4)
        axes.set_xscale("log")
        ticks = [
            t
            for t in (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
            if edges[0] <= t <= edges[-1]
        ]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        _legend(axes)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _percent(axes.yaxis)
    return _svg(figure)


def _axes() -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(PANEL, layout="constrained")
        return figure, figure.subplots()


def _legend(axes: Axes) -> None:
    """Above the axes, where it hides nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=3,
            frameon=False,
            labelcolor=INK,
            fontsize=8,
        )


def _percent(*axis: mpl.axis.Axis) -> None:
    for one in axis:
        one.set_major_locator(MaxNLocator(6))
        one.set_major_formatter(PercentFormatter(1, decimals=None))


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element whose ids begin with a checksum of it, so that several fit in one page."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    prefix = f"plot-{zlib.crc32(svg.encode()):08x}-"
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg).replace(INK, "currentColor")
