"""The first step: a study is read, and what comes out commits together with the end of the job."""

from collections.abc import Callable, Sequence

import structlog

from ichd import __version__
from ichd.domain.reason import Reason
from ichd.domain.record import Record, record_of, unread_record
from ichd.domain.study import StudyState
from ichd.pipeline.clock import Clock
from ichd.pipeline.heat import LastSeen
from ichd.pipeline.reading import ReadingPolicy, UnreadStudy, read_study
from ichd.pipeline.recollection import Recollection
from ichd.store.embeddings import Embeddings
from ichd.store.queue import Job
from ichd.store.studies import Studies
from ichd.vision.reader import Reader

log = structlog.get_logger(__name__)


def analyse(
    job: Job,
    *,
    studies: Studies,
    reader: Reader,
    embeddings: Embeddings,
    last_seen: LastSeen,
    policy: ReadingPolicy,
    destinations: Callable[[Record], Sequence[str]],
    clock: Clock,
) -> None:
    """One `analyse` job from claim to commit; slices that `embeddings` has of the reader's engine are not seen again.

    `last_seen` then holds the scan, for who draws its report. `destinations` says who is to be told of a record.

    Raises:
        LeaseLost: the job was given away, or a late slice made a newer revision; nothing was changed.
        Transient: the database could not be reached.
    """
    work = studies.begin_analysis(job, now=clock())
    # Two long scans are more than a worker should hold.
    last_seen.forget()
    rule = reader.engine.bundle.rule
    recollection = Recollection(reader=reader, embeddings=embeddings, stored=work.stored, clock=clock)
    outcome = read_study(work.facts, work.files, recollection.see, rule, policy, bring=work.bring)
    if isinstance(outcome, UnreadStudy):
        record = unread_record(
            study_uid=job.study_uid,
            series_uid=None,
            state=StudyState.NOT_ANALYSED,
            reason=outcome.reason,
            detail=outcome.detail,
            software_version=__version__,
            skipped=outcome.skipped,
            ranking=outcome.ranking,
        )
        # What was said of it when its images were here still stands: no "not analysed" may replace that in an archive.
        told = () if outcome.reason is Reason.IMAGES_DROPPED else destinations(record)
        studies.not_analysed(job, record=record, destinations=told, now=clock())
        log.info("study_not_analysed", study=job.study_uid, reason=outcome.reason, detail=outcome.detail)
        return
    record = record_of(
        outcome.finding,
        rule=rule,
        state=StudyState.ANALYSING,
        skipped=outcome.skipped,
        ranking=outcome.ranking,
        software_version=__version__,
    )
    queued_ms = (work.started_at - work.ready_at).total_seconds() * 1e3
    timings_ms = {"queued": queued_ms, **record["timings_ms"], **recollection.timings_ms(work.ready_at)}
    record["timings_ms"] = timings_ms
    record["embeddings"] = recollection.counts
    if recollection.seen is not None:
        last_seen.put(job.study_id, job.revision, recollection.seen)
    studies.finish_analysis(job, record=record, destinations=destinations(record), now=clock())
    log.info(
        "study_analysed",
        study=job.study_uid,
        revision=job.revision,
        triage=outcome.finding.triage,
        slices=len(outcome.finding.prediction.slices),
        ahead=recollection.counts["ahead"],
        timings_ms={step: round(ms) for step, ms in timings_ms.items()},
    )
