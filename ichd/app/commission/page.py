"""The acceptance report: one HTML file that needs nothing else, to read and to print; the same as JSON beside it."""

import json
from pathlib import Path

import jinja2

from ichd.app.commission.acceptance import Acceptance
from ichd.app.commission.pictures import slice_with_truth, summary_page


def render_page(acceptance: Acceptance) -> str:
    """The report as a page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ichd.app.commission"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": _seconds, "moment": lambda at: f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"}
    pictures = [(slice_with_truth(case.trip.study), summary_page(case.trip.page)) for case in acceptance.cases]
    return environment.get_template("acceptance.html").render(
        a=acceptance, cases=list(zip(acceptance.cases, pictures, strict=True)), sheet=_foot(acceptance)
    )


def write_report(acceptance: Acceptance, out: Path) -> tuple[Path, Path]:
    """Write the page to `out`, and JSON beside it; returns both paths.

    Raises:
        OSError: they can't be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_suffix(".json")
    out.write_text(render_page(acceptance), encoding="utf-8")
    beside.write_text(json.dumps(acceptance.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return out, beside


def _foot(acceptance: Acceptance) -> str:
    """What stands at the foot of each sheet, as a string of a style sheet: names of others are words and no more."""
    verdict = "passed" if acceptance.passed else "FAILED"
    at = f"{acceptance.began_at.astimezone():%Y-%m-%d %H:%M %Z}"
    words = f"Acceptance report, {acceptance.ae_title} to {acceptance.route.destination}, {at}: {verdict}"
    return "".join(letter if letter.isalnum() or letter in " -:.,+_" else f"\\{ord(letter):x} " for letter in words)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
