"""Why a stack of images is not read, by its headers alone.

Rules stand in the order in which a person would name them, and the first that is broken is the reason. What pixels show
is asked later, where pixels are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ichd.domain.acquisitions import TIME_SERIES_FROM
from ichd.domain.contrast import has_contrast, is_called_native, shows_arteries, shows_perfusion
from ichd.domain.geometry import degrees_from_axial, slice_normal
from ichd.domain.image_kind import ImageKind, kind_of
from ichd.domain.kernel import is_sharp
from ichd.domain.placed import THIN_BELOW_MM, coverage_mm, is_placed, positions_mm, repeats, slice_mm
from ichd.domain.reason import Reason
from ichd.domain.study import MULTI_FRAME_CT, InstanceFacts

#: Of fewer places it is no series of slices, but one slice that was watched, for the bolus to arrive.
_FEWEST_IN_TIME_SERIES = 10

Images = Sequence[InstanceFacts]


@dataclass(frozen=True, kw_only=True)
class SelectionPolicy:
    """What a readable series needs."""

    max_degrees_from_axial: float = 30.0
    min_positions: int = 10
    min_coverage_mm: float = 80.0
    max_slices: int = 1000


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The rule that a stack breaks."""

    reason: Reason
    #: The numbers behind it, for people.
    detail: str


def refusal_of(images: Images, policy: SelectionPolicy) -> Refusal | None:
    """The first rule that the images, taken together, break."""
    for rule in _RULES:
        refusal = rule(images, policy)
        if refusal is not None:
            return refusal
    return None


def degrees_of(images: Images) -> float:
    """How far the steepest plane leans from axial; 0 where none has a place."""
    normals = [n for i in images if i.image_orientation and (n := slice_normal(i.image_orientation))]
    return max(map(degrees_from_axial, normals), default=0.0)


def _is_ct(images: Images, policy: SelectionPolicy) -> Refusal | None:
    other = sorted({i.modality or "none" for i in images if i.modality != "CT"})
    if other:
        return Refusal(reason=Reason.NO_CT_IMAGES, detail=f"Modality {', '.join(other)}")
    return None


def _is_no_control_object(images: Images, policy: SelectionPolicy) -> Refusal | None:
    marked = sum(i.quality_control_image for i in images)
    if marked:
        detail = f"Quality Control Image YES in {marked} of {len(images)} images"
        return Refusal(reason=Reason.QUALITY_CONTROL_OBJECT, detail=detail)
    return None


_KINDS = {
    ImageKind.LOCALIZER: Reason.LOCALIZER,
    ImageKind.CAPTURE: Reason.DERIVED_SECONDARY,
    ImageKind.PROJECTION: Reason.PROJECTION,
    ImageKind.PERFUSION: Reason.PERFUSION,
}


def _is_of_readable_kind(images: Images, policy: SelectionPolicy) -> Refusal | None:
    for kind, reason in _KINDS.items():
        count = sum(kind_of(i) is kind for i in images)
        if count:
            words = next("\\".join(i.image_type) or "described so" for i in images if kind_of(i) is kind)
            return Refusal(reason=reason, detail=f"{count} of {len(images)} images, {words}")
    return None


def _is_unfolded(images: Images, policy: SelectionPolicy) -> Refusal | None:
    """The frames of a multi-frame image are facts of their own by the time a series is chosen."""
    folded = [i for i in images if i.frame_number is None]
    frames = max((i.number_of_frames for i in folded), default=1)
    if frames > 1 or any(i.sop_class_uid in MULTI_FRAME_CT for i in folded):
        return Refusal(reason=Reason.MULTI_FRAME, detail=f"{frames} {'frame' if frames == 1 else 'frames'}")
    return None


def _has_geometry(images: Images, policy: SelectionPolicy) -> Refusal | None:
    lacking = sum(not is_placed(i) for i in images)
    if lacking:
        return Refusal(reason=Reason.MISSING_GEOMETRY, detail=f"{lacking} of {len(images)} images")
    return None


def _is_axial(images: Images, policy: SelectionPolicy) -> Refusal | None:
    angle = degrees_of(images)
    if angle <= policy.max_degrees_from_axial:
        return None
    reformat = any(kind_of(i) is ImageKind.REFORMAT for i in images)
    return Refusal(
        reason=Reason.REFORMATTED if reformat else Reason.NOT_AXIAL,
        detail=f"{_above(angle, policy.max_degrees_from_axial)} degrees",
    )


def _is_no_time_series(images: Images, policy: SelectionPolicy) -> Refusal | None:
    times = repeats(images)
    if len(positions_mm(images)) < _FEWEST_IN_TIME_SERIES:
        return None
    if times >= TIME_SERIES_FROM:
        detail = f"{len(images)} images of {len(positions_mm(images))} positions"
        return Refusal(reason=Reason.PERFUSION, detail=detail)
    # A protocol's name stands in the description of its native series as well; that shows each place once.
    if shows_perfusion(images) and (times > 1 or not is_called_native(images)):
        return Refusal(reason=Reason.PERFUSION, detail=f"described so, {_times(times)} a position")
    return None


def _is_no_angiography(images: Images, policy: SelectionPolicy) -> Refusal | None:
    """Thin slices with contrast agent are an angiography in all but name; thick ones have to say it."""
    agent, arteries, thickness = has_contrast(images), shows_arteries(images), slice_mm(images)
    thin = thickness < THIN_BELOW_MM
    if (agent and thin) or (arteries and (agent or thin)):
        said = " and ".join(w for w, true in (("contrast agent", agent), ("arterial by its words", arteries)) if true)
        return Refusal(reason=Reason.ANGIOGRAPHY, detail=f"{said}, slices of {thickness:.2g} mm")
    return None


def _has_slices(images: Images, policy: SelectionPolicy) -> Refusal | None:
    count = len(positions_mm(images))
    if count < policy.min_positions:
        return Refusal(reason=Reason.TOO_FEW_SLICES, detail=f"{_positions(count)}, {policy.min_positions} needed")
    if count > policy.max_slices:
        return Refusal(reason=Reason.TOO_MANY_SLICES, detail=f"{_positions(count)}, at most {policy.max_slices}")
    return None


def _has_coverage(images: Images, policy: SelectionPolicy) -> Refusal | None:
    coverage = coverage_mm(images)
    if coverage < policy.min_coverage_mm:
        detail = f"{_below(coverage, policy.min_coverage_mm)} mm, {policy.min_coverage_mm:g} mm needed"
        return Refusal(reason=Reason.SHORT_COVERAGE, detail=detail)
    return None


def _positions(count: int) -> str:
    return "1 position" if count == 1 else f"{count} positions"


def _times(times: float) -> str:
    return "1 image" if times < 1.05 else f"{times:.2g} images"


def _above(value: float, limit: float) -> str:
    """In as many digits as show that it is above."""
    return next((text for digits in (0, 1, 2) if float(text := f"{value:.{digits}f}") > limit), f"{value:.6g}")


def _below(value: float, limit: float) -> str:
    """In as many digits as show that it is below."""
    return next((text for digits in (0, 1, 2) if float(text := f"{value:.{digits}f}") < limit), f"{value:.6g}")


def _is_no_thin_bone_stack(images: Images, policy: SelectionPolicy) -> Refusal | None:
    """A thick slice with a bone kernel can be read where there is nothing else; noise rises as slices get thinner."""
    thickness = slice_mm(images)
    sharp = [i for i in images if is_sharp(i.convolution_kernel, i.series_description)]
    if 2 * len(sharp) > len(images) and thickness < THIN_BELOW_MM:
        kernel = sharp[0].convolution_kernel or "by its description"
        return Refusal(reason=Reason.SHARP_KERNEL, detail=f"kernel {kernel}, slices of {thickness:.2g} mm")
    return None


_Rule = Callable[[Images, SelectionPolicy], Refusal | None]

#: Order matters: a rule may rely on the ones before it.
_RULES: tuple[_Rule, ...] = (
    _is_ct,
    _is_no_control_object,
    _is_of_readable_kind,
    _is_unfolded,
    _has_geometry,
    _is_axial,
    _is_no_time_series,
    _is_no_angiography,
    _has_slices,
    _has_coverage,
    _is_no_thin_bone_stack,
)
