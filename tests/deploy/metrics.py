"""Which metrics there are, and which an expression asks for."""

import re

from tests.deploy.tools import DOCS

_PAGE = DOCS / "metrics.md"
#: What Prometheus itself adds.
FOREIGN = frozenset({"up", "ALERTS"})
_PARTS_OF_A_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


def documented() -> frozenset[str]:
    """Names in docs/metrics.md, which a test of its own compares with the code."""
    return frozenset(re.findall(r"`(ichd_[a-z_]+)", _PAGE.read_text()))


def asked_for(expression: str) -> frozenset[str]:
    """Names of ours in a PromQL expression."""
    without_values = re.sub(r'"[^"]*"', '""', expression)
    return frozenset(re.findall(r"\b(ichd_[a-z_]+)", without_values))


def unknown(expression: str, known: frozenset[str]) -> list[str]:
    """Names that nothing exports."""
    return sorted(name for name in asked_for(expression) if not {name, _PARTS_OF_A_HISTOGRAM.sub("", name)} & known)
