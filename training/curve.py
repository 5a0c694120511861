"""The learning curve of a run, as a picture."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.journal import LOG_NAME, read_lines

CURVE_NAME = "curve.png"
#: From so wide a range on, a logarithm shows more than it hides.
_WIDE = 4.0


def draw_curve(out: Path) -> Path:
    """`curve.png` beside the run's journal: training loss, validation, and the rate below."""
    lines = read_lines(out / LOG_NAME)
    steps = [line for line in lines if line["kind"] == "progress"]
    checks = [line for line in lines if line["kind"] == "validation"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    updates = [line["update"] for line in steps]
    losses.plot(updates, [line["slice_loss"] * 6 / 7 for line in steps], color="#9ab", lw=1, label="training")
    if checks:
        at, loss = [line["update"] for line in checks], [line["weighted_log_loss"] for line in checks]
        losses.plot(at, loss, color="#124", marker="o", ms=3, lw=1.5, label="validation")
        best = [line for line in checks if line["best"]][-1:]
        for line in best:
            losses.annotate(
                f"{line['weighted_log_loss']:.4f}, epoch {line['epoch']}",
                (line["update"], line["weighted_log_loss"]),
                xytext=(-4, 22),
                textcoords="offset points",
                ha="right",
            )
    shown = [value for line in losses.lines for value in line.get_ydata() if value > 0]
    if shown and max(shown) > _WIDE * min(shown):
        losses.set_yscale("log")
    losses.set_ylabel("weighted log loss")
    losses.grid(visible=True, which="both", lw=0.3, alpha=0.5)
    losses.legend(frameon=False)
    losses.set_title(out.name, loc="left")
    rates.plot(updates, [line["learning_rate"] for line in steps], color="#a63", lw=1)
    rates.set_ylabel("learning rate")
    rates.set_xlabel("update")
    rates.grid(visible=True, lw=0.3, alpha=0.5)
    for axes in (losses, rates):
        axes.spines[["top", "right"]].set_visible(False)
    path = out / CURVE_NAME
    figure.savefig(path, dpi=120)
    return path
