"""The first step: choose the series, see, conclude; what comes out commits together with the end of the job."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from ichd import __version__
from ichd.domain.errors import NotAnalysable
from ichd.domain.finding import Finding, conclude
from ichd.domain.reason import Reason
from ichd.domain.record import record_of, unread_record
from ichd.domain.selection import SelectionPolicy, fewer_slices, select_series
from ichd.domain.study import SeriesFacts, SkippedSeries, StudyFacts, StudyState
from ichd.pipeline.clock import Clock
from ichd.store.queue import Job
from ichd.store.studies import Studies
from ichd.vision.headness import require_head
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, load_scan

log = structlog.get_logger(__name__)


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
    study: StudyFacts, files: Mapping[str, Path], reader: Reader, policy: ReadingPolicy
) -> ReadStudy | UnreadStudy:
    """Read the best series of a study whose pixels can be read; `files` by SOP Instance UID."""
    selection = select_series(study, policy.selection)
    skipped = list(selection.skipped)
    for index, series in enumerate(selection.candidates):
        try:
            finding = read_series(series, files, reader, head_only=policy.require_head)
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


def read_series(series: SeriesFacts, files: Mapping[str, Path], reader: Reader, *, head_only: bool) -> Finding:
    """Decode one series and let the model speak.

    Raises:
        NotAnalysable: the pixels can't be decoded, don't form a scan, or (with `head_only`) are no head.
    """
    started = time.perf_counter()
    scan = load_series(series, files)
    if head_only:
        require_head(scan)
    return read_scan(scan, reader, decode_ms=(time.perf_counter() - started) * 1e3)


def load_series(series: SeriesFacts, files: Mapping[str, Path]) -> HeadScan:
    """The scan that the files of a series form.

    Raises:
        NotAnalysable: they form none.
    """
    return load_scan([files[instance.sop_instance_uid] for instance in series.instances])


def read_scan(scan: HeadScan, reader: Reader, *, decode_ms: float) -> Finding:
    """What the model concludes about a scan; `decode_ms` joins its timings."""
    prediction = reader.read(scan)
    timed = replace(prediction, timings_ms={"decode": decode_ms, **prediction.timings_ms})
    return conclude(timed, reader.engine.bundle.rule)


def why_unread(skipped: Sequence[SkippedSeries]) -> tuple[Reason, str]:
    """The reason of a whole study: that of its series where they agree, else the list of them."""
    if not skipped:
        # A study exists because an image arrived; without any that is read, all were taken for others' duplicates.
        return Reason.CONFLICTING_DUPLICATE, "every image of the study"
    reasons = {s.reason for s in skipped}
    if len(reasons) == 1:
        return skipped[0].reason, skipped[0].detail
    return Reason.NO_READABLE_SERIES, f"{len(skipped)} series: {', '.join(sorted(reasons))}"


def analyse(
    job: Job,
    *,
    studies: Studies,
    reader: Reader,
    policy: ReadingPolicy,
    destinations: Sequence[str],
    clock: Clock,
) -> None:
    """One `analyse` job from claim to commit.

    Raises:
        LeaseLost: the job was given away, or a late slice made a newer revision; nothing was changed.
        Transient: the database could not be reached.
    """
    work = studies.begin_analysis(job, now=clock())
    outcome = read_study(work.facts, work.files, reader, policy)
    if isinstance(outcome, UnreadStudy):
        record = unread_record(
            study_uid=job.study_uid,
            series_uid=None,
            state=StudyState.NOT_ANALYSED,
            reason=outcome.reason,
            detail=outcome.detail,
            skipped=outcome.skipped,
        )
        studies.not_analysed(job, record=record, now=clock())
        log.info("study_not_analysed", study=job.study_uid, reason=outcome.reason, detail=outcome.detail)
        return
    record = record_of(
        outcome.finding,
        rule=reader.engine.bundle.rule,
        state=StudyState.ANALYSING,
        skipped=outcome.skipped,
        software_version=__version__,
    )
    studies.finish_analysis(job, record=record, destinations=destinations, now=clock())
    log.info(
        "study_analysed",
        study=job.study_uid,
        revision=job.revision,
        triage=outcome.finding.triage,
        slices=len(outcome.finding.prediction.slices),
        timings_ms={step: round(ms) for step, ms in outcome.finding.prediction.timings_ms.items()},
    )
