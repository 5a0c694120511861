"""How well a stack suits the model, in points that a person can add up.

Each criterion is worth more than all that stand below it together, so that the order of this table is the order of
preference; a total shows at a glance where two stacks part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ichd.domain.contrast import has_contrast
from ichd.domain.geometry import holes
from ichd.domain.image_kind import ImageKind, is_derived
from ichd.domain.kernel import is_sharp
from ichd.domain.placed import coverage_mm, positions_mm, slice_mm
from ichd.domain.stacks import Stack

#: From below the skull base to the vertex of an adult; where no pixels are looked at there is no better measure.
_WHOLE_FROM_MM = 120.0
#: As thick as what the published model was trained on, and as routine head protocols are.
_PREFERRED_MM = (2.9, 6.5)
_MOST_POSITIONS = 1000

WHOLE_HEAD = "whole_head"
_POINTS = {
    WHOLE_HEAD: 64.0,
    "contrast": 32.0,
    "gaps": 16.0,
    "kernel": 8.0,
    "original": 4.0,
    "thickness": 2.0,
    "acquisition": 0.5,
    "positions": 0.25,
}


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One row of the account."""

    name: str
    #: What was found, for people.
    value: str
    points: float


@dataclass(frozen=True, kw_only=True)
class PixelEvidence:
    """What a few sections, spread over a stack, show."""

    sections: int
    #: How many of them look like a head.
    heads: int
    #: Whether the topmost is much smaller than the largest: the vertex was reached.
    reaches_vertex: bool
    #: Whether the lowest holds bone and air beside soft tissue: the base was reached.
    reaches_base: bool

    @property
    def whole(self) -> bool:
        """Whether the head is in the images from base to vertex."""
        return self.reaches_vertex and self.reaches_base

    def __str__(self) -> str:
        ends = [word for word, is_there in (("vertex", self.reaches_vertex), ("base", self.reaches_base)) if is_there]
        return f"{self.heads} of {self.sections} sections are a head, {' and '.join(ends) or 'neither end'} reached"


@dataclass(frozen=True, kw_only=True)
class SeriesScore:
    """The account of one stack."""

    #: In the order of their weight.
    criteria: tuple[Criterion, ...]

    @property
    def total(self) -> float:
        """The sum of all points."""
        return sum(c.points for c in self.criteria)

    def with_pixels(self, evidence: PixelEvidence) -> "SeriesScore":
        """The account once pixels were looked at: what they show of the head counts instead of its length."""
        seen = Criterion(name=WHOLE_HEAD, value=str(evidence), points=_POINTS[WHOLE_HEAD] if evidence.whole else 0.0)
        return replace(self, criteria=tuple(seen if c.name == WHOLE_HEAD else c for c in self.criteria))


def score_of(stack: Stack, *, pixels_to_come: bool = True) -> SeriesScore:
    """The account of a stack by its headers; a stack that is refused has one too.

    Until pixels were looked at every head counts as whole, a child's is short: so pixels only ever take points. Without
    `pixels_to_come` it counts as whole where the stack is as long as an adult's head.
    """
    images = stack.instances
    positions, coverage, thickness = positions_mm(images), coverage_mm(images), slice_mm(images)
    gaps = len(holes(positions))
    agent = has_contrast(images)
    sharp = sum(is_sharp(i.convolution_kernel, i.series_description) for i in images)
    kernels = sorted({i.convolution_kernel for i in images if i.convolution_kernel})
    derived = sum(is_derived(i) for i in images)
    which, of = stack.acquisition
    return SeriesScore(
        criteria=(
            _row(WHOLE_HEAD, f"{coverage:.0f} mm", float(pixels_to_come or coverage >= _WHOLE_FROM_MM)),
            _row("contrast", "given" if agent else "none", float(not agent)),
            _row("gaps", f"{gaps}", float(gaps == 0)),
            _row("kernel", _kernel_words(kernels, sharp > 0), float(sharp == 0)),
            _row("original", _origin_words(stack.kind, derived), _originality(stack.kind, derived)),
            _row("thickness", f"{thickness:.2g} mm", _thickness_share(thickness)),
            _row("acquisition", f"{which} of {of}", which / of),
            _row("positions", f"{len(positions)}", min(len(positions), _MOST_POSITIONS) / _MOST_POSITIONS),
        )
    )


def deciding(better: SeriesScore, worse: SeriesScore) -> str:
    """What the choice between two stacks turned on, in words."""
    for mine, other in zip(better.criteria, worse.criteria, strict=True):
        if mine.points > other.points:
            return f"{mine.name}: {mine.value} against {other.value}"
    return "nothing but the order of their UIDs"


def _row(name: str, value: str, share: float) -> Criterion:
    return Criterion(name=name, value=value, points=_POINTS[name] * share)


def _kernel_words(kernels: Sequence[str], sharp: bool) -> str:
    return f"{'sharp' if sharp else 'soft'} ({', '.join(kernels[:3]) or 'not named'})"


def _origin_words(kind: ImageKind, derived: int) -> str:
    if kind is ImageKind.REFORMAT:
        return "reformat"
    return "derived" if derived else "original"


def _originality(kind: ImageKind, derived: int) -> float:
    """What was computed from slices never outranks them by its thickness, so that the step to it is the largest."""
    if kind is ImageKind.REFORMAT:
        return 0.0
    return 0.25 if derived else 1.0


def _thickness_share(thickness: float) -> float:
    if _PREFERRED_MM[0] <= thickness <= _PREFERRED_MM[1]:
        return 1.0
    return 0.5 if thickness < _PREFERRED_MM[0] else 0.0
