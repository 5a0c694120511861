"""Reading one study: choose the series, see it, conclude; no database, so that `ichd predict` does the same."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ichd.domain.errors import NotAnalysable
from ichd.domain.finding import Finding, Prediction, ReadingRule, conclude
from ichd.domain.reason import Reason
from ichd.domain.selection import SelectionPolicy, fewer_slices, select_series
from ichd.domain.study import SeriesFacts, SkippedSeries, StudyFacts
from ichd.vision.headness import require_head
from ichd.vision.scan import HeadScan, SliceSource, load_scan

#: What makes a prediction of a scan: `Reader.read`, or something that has seen parts of it before.
See = Callable[[HeadScan], Prediction]


@dataclass(frozen=True, kw_only=True)
class ReadingPolicy:
    """Which series may be read."""

    selection: SelectionPolicy
    require_head: bool


@dataclass(frozen=True, kw_only=True)
class ReadStudy:
    """A study that was read: its finding, and the series that were left out."""

    finding: Finding
    skipped: tuple[SkippedSeries, ...]


@dataclass(frozen=True, kw_only=True)
class UnreadStudy:
    """A study that the model must not speak about."""

    reason: Reason
    detail: str
    skipped: tuple[SkippedSeries, ...]


def read_study(
    study: StudyFacts, files: Mapping[str, Path], see: See, rule: ReadingRule, policy: ReadingPolicy
) -> ReadStudy | UnreadStudy:
    """Read the best series of a study whose pixels can be read; `files` by SOP Instance UID."""
    selection = select_series(study, policy.selection)
    skipped = list(selection.skipped)
    for index, series in enumerate(selection.candidates):
        try:
            finding = read_series(series, files, see, rule, head_only=policy.require_head)
        except NotAnalysable as refusal:
            skipped.append(
                SkippedSeries(
                    series_instance_uid=series.series_instance_uid, reason=refusal.reason, detail=refusal.detail
                )
            )
            continue
        skipped.extend(fewer_slices(other, series) for other in selection.candidates[index + 1 :])
        return ReadStudy(finding=finding, skipped=tuple(skipped))
    reason, detail = why_unread(skipped)
    return UnreadStudy(reason=reason, detail=detail, skipped=tuple(skipped))


def read_series(
    series: SeriesFacts, files: Mapping[str, Path], see: See, rule: ReadingRule, *, head_only: bool
) -> Finding:
    """Decode one series and let the model speak.

    Raises:
        NotAnalysable: the pixels can't be decoded, don't form a scan, or (with `head_only`) are no head.
    """
    started = time.perf_counter()
    scan = load_series(series, files)
    if head_only:
        require_head(scan)
    return read_scan(scan, see, rule, decode_ms=(time.perf_counter() - started) * 1e3)


def load_series(series: SeriesFacts, files: Mapping[str, Path]) -> HeadScan:
    """The scan that the files of a series form.

    Raises:
        NotAnalysable: they form none.
    """
    return load_scan(
        [SliceSource(path=files[i.sop_instance_uid], frame_number=i.frame_number) for i in series.instances]
    )


def read_scan(scan: HeadScan, see: See, rule: ReadingRule, *, decode_ms: float) -> Finding:
    """What the model concludes about a scan; `decode_ms` joins its timings."""
    prediction = see(scan)
    timed = replace(prediction, timings_ms={"decode": decode_ms, **prediction.timings_ms})
    return conclude(timed, rule)


def why_unread(skipped: Sequence[SkippedSeries]) -> tuple[Reason, str]:
    """The reason of a whole study: that of its series where they agree, else the list of them."""
    if not skipped:
        # A study exists because an image arrived; without any that is read, all were taken for others' duplicates.
        return Reason.CONFLICTING_DUPLICATE, "every image of the study"
    reasons = {s.reason for s in skipped}
    if len(reasons) == 1:
        return skipped[0].reason, skipped[0].detail
    return Reason.NO_READABLE_SERIES, f"{len(skipped)} series: {', '.join(sorted(reasons))}"
