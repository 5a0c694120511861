"""Which series of a study is read, and why the others are not.

First form: headers only. An axial CT series with geometry, enough distinct positions and enough coverage qualifies;
of those, the one with the most slices is read. Whether its pixels are a head is decided where pixels are
(`ichd.vision`). ImageType's AXIAL and BodyPartExamined are not believed: the first also marks reformats, the second is
wrong in one series of seven.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ichd.domain.geometry import degrees_from_axial, dot, slice_normal
from ichd.domain.reason import Reason
from ichd.domain.study import (
    ENHANCED_CT_IMAGE_STORAGE,
    InstanceFacts,
    SeriesFacts,
    SkippedSeries,
    StudyFacts,
)


@dataclass(frozen=True, kw_only=True)
class SelectionPolicy:
    """What a readable series needs."""

    max_degrees_from_axial: float = 30.0
    min_positions: int = 10
    min_coverage_mm: float = 80.0
    max_slices: int = 400


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The series to read, in order of preference, and the reason of each that is not."""

    #: Best first; `vision` reads the first whose pixels are a head.
    candidates: tuple[SeriesFacts, ...]
    skipped: tuple[SkippedSeries, ...]


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    reason: Reason
    detail: str


def select_series(study: StudyFacts, policy: SelectionPolicy) -> Selection:
    """Sort the series of a study into candidates and skipped ones; every series is in exactly one of the two."""
    candidates: list[SeriesFacts] = []
    skipped: list[SkippedSeries] = []
    for series in study.series:
        refusal = refusal_of(series, policy)
        if refusal is None:
            candidates.append(series)
        else:
            skipped.append(
                SkippedSeries(
                    series_instance_uid=series.series_instance_uid,
                    reason=refusal.reason,
                    detail=refusal.detail,
                )
            )
    # The UID breaks ties, so that the same study always gives the same choice.
    candidates.sort(key=lambda s: (-distinct_positions(s.instances), s.series_instance_uid))
    return Selection(candidates=tuple(candidates), skipped=tuple(skipped))


def fewer_slices(series: SeriesFacts, chosen: SeriesFacts) -> SkippedSeries:
    """The reason of a candidate that was not read because another one was."""
    return SkippedSeries(
        series_instance_uid=series.series_instance_uid,
        reason=Reason.FEWER_SLICES,
        detail=(
            f"{distinct_positions(series.instances)} positions; series {chosen.series_instance_uid} "
            f"with {distinct_positions(chosen.instances)} is read"
        ),
    )


def refusal_of(series: SeriesFacts, policy: SelectionPolicy) -> _Refusal | None:
    """The first rule that the series breaks, in the order in which a person would name them."""
    for rule in _RULES:
        refusal = rule(series.instances, policy)
        if refusal is not None:
            return refusal
    return None


def distinct_positions(instances: tuple[InstanceFacts, ...]) -> int:
    """Number of slice positions along the normal, to a tenth of a millimetre; 0 where there is no geometry."""
    return len({round(p, 1) for p in _positions(instances)})


def _positions(instances: tuple[InstanceFacts, ...]) -> list[float]:
    positions = []
    for instance in instances:
        if instance.image_position is None or instance.image_orientation is None:
            continue
        normal = slice_normal(instance.image_orientation)
        if normal is not None:
            positions.append(dot(instance.image_position, normal))
    return positions


def _is_ct(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    other = sorted({i.modality or "none" for i in instances if i.modality != "CT"})
    if other:
        return _Refusal(reason=Reason.NO_CT_IMAGES, detail=f"Modality {', '.join(other)}")
    return None


def _is_single_frame(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    frames = max(i.number_of_frames for i in instances)
    if frames > 1 or any(i.sop_class_uid == ENHANCED_CT_IMAGE_STORAGE for i in instances):
        return _Refusal(reason=Reason.MULTI_FRAME, detail=f"{frames} frames")
    return None


def _is_no_localizer(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    localizers = sum("LOCALIZER" in i.image_type for i in instances)
    if localizers:
        return _Refusal(reason=Reason.LOCALIZER, detail=f"{localizers} of {len(instances)} images")
    return None


def _is_primary(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    if all(i.image_type[1:2] == ("SECONDARY",) for i in instances):
        return _Refusal(reason=Reason.DERIVED_SECONDARY, detail="\\".join(instances[0].image_type))
    return None


def _is_placed(instance: InstanceFacts) -> bool:
    """Whether a pixel of the image has a place in the patient, in finite numbers."""
    position, orientation, spacing = instance.image_position, instance.image_orientation, instance.pixel_spacing
    if position is None or orientation is None or spacing is None:
        return False
    numbers = (*position, *spacing)
    return all(map(math.isfinite, numbers)) and min(spacing) > 0 and slice_normal(orientation) is not None


def _has_geometry(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    lacking = sum(not _is_placed(i) for i in instances)
    if lacking:
        return _Refusal(reason=Reason.MISSING_GEOMETRY, detail=f"{lacking} of {len(instances)} images")
    return None


def _is_consistent(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    sizes = Counter((i.rows, i.columns) for i in instances)
    if len(sizes) > 1:
        return _Refusal(reason=Reason.INCONSISTENT_SERIES, detail=f"{len(sizes)} image sizes")
    frames = {i.frame_of_reference_uid for i in instances if i.frame_of_reference_uid}
    if len(frames) > 1:  # positions in different frames can't be compared (PS3.3 C.7.4.1)
        return _Refusal(reason=Reason.INCONSISTENT_SERIES, detail=f"{len(frames)} frames of reference")
    normals = [n for i in instances if i.image_orientation and (n := slice_normal(i.image_orientation))]
    if any(dot(normals[0], n) < 0.9998 for n in normals):  # about one degree
        return _Refusal(reason=Reason.INCONSISTENT_SERIES, detail="slices are not parallel")
    return None


def _is_axial(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    normals = [n for i in instances if i.image_orientation and (n := slice_normal(i.image_orientation))]
    angle = max(degrees_from_axial(n) for n in normals)
    if angle > policy.max_degrees_from_axial:
        return _Refusal(reason=Reason.NOT_AXIAL, detail=f"{angle:.0f} degrees")
    return None


def _has_slices(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    count = distinct_positions(instances)
    if count < policy.min_positions:
        return _Refusal(reason=Reason.TOO_FEW_SLICES, detail=f"{count} positions, {policy.min_positions} needed")
    if count > policy.max_slices:
        return _Refusal(reason=Reason.TOO_MANY_SLICES, detail=f"{count} positions, at most {policy.max_slices}")
    return None


def _has_coverage(instances: tuple[InstanceFacts, ...], policy: SelectionPolicy) -> _Refusal | None:
    positions = _positions(instances)
    coverage = max(positions) - min(positions)
    if coverage < policy.min_coverage_mm:
        return _Refusal(
            reason=Reason.SHORT_COVERAGE, detail=f"{coverage:.0f} mm, {policy.min_coverage_mm:.0f} mm needed"
        )
    return None


_Rule = Callable[[tuple[InstanceFacts, ...], SelectionPolicy], _Refusal | None]

#: Order matters: a rule may rely on the ones before it.
_RULES: tuple[_Rule, ...] = (
    _is_ct,
    _is_single_frame,
    _is_no_localizer,
    _is_primary,
    _has_geometry,
    _is_consistent,
    _is_axial,
    _has_slices,
    _has_coverage,
)
