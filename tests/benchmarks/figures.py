"""How a benchmark prints: a line a figure, and with --json one object last."""

import argparse
import json
from collections.abc import Mapping

Figure = float | int | None


def arguments(description: str) -> argparse.Namespace:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="end within 60 s on two cores")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    return parser.parse_args()


def print_figures(figures: Mapping[str, Figure], why_null: Mapping[str, str], *, as_json: bool) -> None:
    """A figure that can't be measured here is null, with the reason beside it."""
    for name, value in figures.items():
        shown = f"not measured: {why_null[name]}" if value is None else f"{value:g}"
        print(f"{name:<32} {shown}")
    if as_json:
        print(json.dumps({**figures, "why_null": dict(why_null)}))
