"""The probability of a class over the slices, as a picture that a slice can be picked from."""

from collections.abc import Sequence
from dataclasses import dataclass

from ichd.domain.finding import CLASSES, ClassFinding, Finding
from ichd.web.viewing.stacks import suspicious_in

#: Height of the staircase, and of the band of marks under it, in units of the strip's own viewBox; a slice is one wide.
STRIP_HEIGHT = 20
MARK_HEIGHT = 4


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One class over the slices, inferior to superior from left to right."""

    slices: int
    #: SVG path of the probabilities.
    path: str
    #: Height at which a slice speaks for the class.
    threshold_y: float
    #: Indices of the slices that do, counted from 0.
    suspicious: tuple[int, ...]
    #: Of each slice, in percent, for who hears the strip.
    percents: tuple[str, ...]


def strip_of(finding: Finding, found: ClassFinding) -> Strip:
    """The strip of one class."""
    column = CLASSES.index(found.name)
    probabilities = [s.probabilities[column] for s in finding.prediction.slices]
    return Strip(
        slices=len(probabilities),
        path=strip_path(probabilities),
        threshold_y=round((1 - found.slice_threshold.present_from) * STRIP_HEIGHT, 2),
        suspicious=suspicious_in(finding, found),
        percents=tuple(f"{100 * p:.0f}" for p in probabilities),
    )


def strip_path(probabilities: Sequence[float]) -> str:
    """A staircase over the slices, closed along the bottom: one path, however many slices there are."""
    stairs = "".join(f"V{(1 - p) * STRIP_HEIGHT:.2f}h1" for p in probabilities)
    return f"M0 {STRIP_HEIGHT}{stairs}V{STRIP_HEIGHT}Z"
