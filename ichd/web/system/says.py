"""Figures in words."""

from datetime import datetime


def count(value: float) -> str:
    """A number of things."""
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.1f}"


def percent(share: float) -> str:
    """A share of 0 to 1; small ones are not rounded to nothing."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == round(value) else f"{value:.1f} %"


def seconds(value: float) -> str:
    """A duration in the unit that suits it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= size:
            amount = value / size
            return f"{amount:.0f} {unit}" if amount >= 10 or amount == round(amount) else f"{amount:.1f} {unit}"
    return f"{value:.0f} s" if value >= 10 or value == round(value) else f"{value:.1f} s"


def index(value: float) -> str:
    """A figure without a unit."""
    return f"{value:.2f}"


def small(value: float) -> str:
    """A change of a probability, which is mostly next to nothing."""
    return "0" if value == 0 else f"{value:.2g}"


def ago(moment: datetime | None, now: datetime) -> str:
    """Since when."""
    return "never" if moment is None else f"{seconds(max(0.0, round((now - moment).total_seconds())))} ago"
