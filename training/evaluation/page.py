"""An evaluation as one HTML file that needs nothing else: to read, to print, to keep beside the bundle."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import jinja2

from training.evaluation.figures import Report
from training.evaluation.plots import precision_recall_plot, reliability_plot, roc_plot, score_plot
from training.evaluation.result import scan_rows, slice_rows
from training.measures.interval import Interval
from training.packed.reading import ScanReading


def render_page(report: Report, readings: Sequence[ScanReading]) -> str:
    """The page of a report; `readings` are those that it was made of."""
    slices, scans = slice_rows(readings), scan_rows(readings)
    plots = {
        "roc": roc_plot(slices, scans, report.evaluation.operations),
        "precision_recall": precision_recall_plot(slices, scans),
        "reliability": reliability_plot(slices, scans),
        "scores": score_plot(scans),
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "figure3": lambda value: figure(value, 3),
        "interval": interval,
        "interval3": lambda value: interval(value, 3),
        "share": share,
        "p": p_value,
    }
    return environment.get_template("evaluation.html").render(
        report=report,
        e=report.evaluation,
        plots={name: "data:image/svg+xml;base64," + b64encode(svg).decode() for name, svg in plots.items()},
    )


def write_page(path: Path, report: Report, readings: Sequence[ScanReading]) -> None:
    """`render_page` to a file, whole or not at all.

    Raises:
        OSError: the disk is full, or the folder can't be written to.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(render_page(report, readings), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def figure(value: float | None, digits: int = 4) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(value: Interval | None, digits: int = 4) -> str:
    """As "0.9597 (0.9410 to 0.9731)"."""
    if value is None:
        return "–"
    return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def share(value: Interval | None) -> str:
    """As "95.6 % (93.1 to 97.4)"."""
    if value is None:
        return "–"
    return f"{100 * value.value:.1f} % ({100 * value.low:.1f} to {100 * value.high:.1f})"


def p_value(value: float) -> str:
    """Three digits are more than it is worth."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
