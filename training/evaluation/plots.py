"""Curves of an evaluation as SVG: six small multiples each, told apart by line and shade, so that copiers do no harm.

Shapes: N slices or scans, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from ichd.domain.finding import CLASSES
from training.evaluation.figures import Operation
from training.evaluation.result import Rows
from training.measures.basic import Flags, Floats
from training.measures.calibration import reliability
from training.measures.roc import delong

#: By slice is dashed and grey, by scan is solid and dark, in every figure.
_SCAN, _SLICE, _GUIDE, _MARK = "#12395b", "#7d8b99", "#c9d1d9", "#b3201a"
#: More points than this make the file larger and the curve no better.
_POINTS = 300
#: Of the histograms.
_BINS = [k / 20 for k in range(21)]
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.edgecolor": "#566270",
    "axes.labelcolor": "#33404d",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#566270",
    "ytick.color": "#566270",
    # A ground under the words, where a curve runs behind them.
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 7.5,
    # One evaluation gives one file, to the byte.
    "svg.hashsalt": "ichd",
}


def roc_plot(slices: Rows, scans: Rows, operations: tuple[Operation, ...]) -> bytes:
    """Sensitivity over false alarms, with the bundle's thresholds as marks."""

    def draw(ax: Axes, c: int) -> None:
        ax.plot([0, 1], [0, 1], color=_GUIDE, linewidth=0.8)
        for rows, colour, line, word in ((slices, _SLICE, (0, (4, 2)), "slice"), (scans, _SCAN, "solid", "scan")):
            p_N, y_N = _known(rows, c)
            area = delong(p_N, y_N)
            if area is None:
                continue
            false_rate, true_rate, _ = roc_curve(y_N, p_N)
            ax.plot(*_thinned(false_rate, true_rate), color=colour, linestyle=line, label=f"{word} {area.value:.3f}")
        for operation in operations:
            point = operation.point
            if operation.name == CLASSES[c] and point.sensitivity and point.specificity:
                marker, word = ("o", "called present") if operation.call == "present" else ("s", "called absent below")
                x, y = 1 - point.specificity.value, point.sensitivity.value
                ax.plot(x, y, marker, color=_MARK, markerfacecolor="white", markersize=5, clip_on=False, label=word)
        _legend(ax, "lower right", "one side only: no curve")

    return _six(draw, "false positive rate", "sensitivity")


def precision_recall_plot(slices: Rows, scans: Rows) -> bytes:
    """How pure calls are when more of them are made; the thin lines are what guessing gives."""

    def draw(ax: Axes, c: int) -> None:
        for rows, colour, line, word in ((slices, _SLICE, (0, (4, 2)), "slice"), (scans, _SCAN, "solid", "scan")):
            p_N, y_N = _known(rows, c)
            if y_N.all() or not y_N.any():
                continue
            precision, recall, _ = precision_recall_curve(y_N, p_N)
            ax.axhline(float(y_N.mean()), color=colour, linestyle=line, linewidth=0.6)
            ax.plot(
                *_thinned(recall[::-1], precision[::-1]),
                color=colour,
                linestyle=line,
                label=f"{word}, {int(y_N.sum())} of {len(y_N)}",
            )
        _legend(ax, "lower left", "one side only: no curve")

    return _six(draw, "sensitivity (recall)", "PPV (precision)")


def reliability_plot(slices: Rows, scans: Rows) -> bytes:
    """What was said against what was seen, ten bins of equal mass, with Wilson's intervals."""

    def draw(ax: Axes, c: int) -> None:
        ax.plot([0, 1], [0, 1], color=_GUIDE, linewidth=0.8)
        for rows, colour, marker, word in ((slices, _SLICE, "s", "slice"), (scans, _SCAN, "o", "scan")):
            p_N, y_N = _known(rows, c)
            curve = reliability(p_N, y_N, bins=10)
            if not curve:
                continue
            said, seen = [one.said for one in curve], np.array([one.seen.value for one in curve])
            low, high = (np.array([getattr(one.seen, end) for one in curve]) for end in ("low", "high"))
            ax.errorbar(
                said,
                seen,
                yerr=[seen - low, high - seen],
                color=colour,
                marker=marker,
                markersize=3.5,
                markerfacecolor="white",
                linewidth=0.9,
                elinewidth=0.6,
                label=word,
            )
        _legend(ax, "upper left", "no labels")

    return _six(draw, "probability said", "share seen")


def score_plot(scans: Rows) -> bytes:
    """Where scans with and without each class lie."""

    def draw(ax: Axes, c: int) -> None:
        p_N, y_N = _known(scans, c)
        styles: tuple[tuple[Flags, dict[str, Any]], ...] = (
            (~y_N, {"facecolor": "#dfe5ea", "edgecolor": _SLICE, "label": f"without, {int((~y_N).sum())}"}),
            (y_N, {"facecolor": "none", "edgecolor": _SCAN, "hatch": "/////", "label": f"with, {int(y_N.sum())}"}),
        )
        for flags, style in styles:
            if flags.any():
                ax.hist(p_N[flags], bins=_BINS, linewidth=0.8, histtype="stepfilled", log=True, **style)
        # Room above the bars for the legend.
        ax.set_ylim(bottom=0.7, top=30 * max(1.0, ax.get_ylim()[1]) ** 0.9)
        _legend(ax, "upper center", "no labels")

    return _six(draw, "scan's probability", "scans", square=False)


def _six(draw: Callable[[Axes, int], None], x: str, y: str, *, square: bool = True) -> bytes:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.4, 6.3 if square else 4.6), layout="constrained")
        axes = figure.subplots(2, 3)
        for c, ax in enumerate(axes.flat):
            draw(ax, c)
            ax.set_title(CLASSES[c])
            ax.set_xlim(-0.02, 1.02)
            if square:
                ax.set_ylim(-0.02, 1.02)
                ax.set_aspect("equal")
            ax.set_xlabel(x if c >= 3 else "")
            ax.set_ylabel(y if c % 3 == 0 else "")
        out = io.BytesIO()
        # A date would make two evaluations of the same readings differ; the other facts would name addresses.
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()


def _known(rows: Rows, c: int) -> tuple[Floats, Flags]:
    known_N = rows.y_NC[:, c] >= 0
    return rows.p_NC[known_N, c], rows.y_NC[known_N, c] == 1


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """A curve of at most `_POINTS` points, spread over its length rather than its points."""
    if len(x) <= _POINTS:
        return x, y
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    keep = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _POINTS)).clip(max=len(x) - 1))
    return x[keep], y[keep]


def _legend(ax: Axes, place: Any, nothing: str) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc=place, handlelength=2.2, borderaxespad=0.2)
    else:
        ax.text(0.5, 0.5, nothing, ha="center", va="center", color=_SLICE, transform=ax.transAxes)
