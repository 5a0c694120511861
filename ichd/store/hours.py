"""What one hour came to: studies, how long they took, what was found in what kind of images, where the reports went."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session

from ichd.domain.finding import Triage
from ichd.domain.histogram import duration_bin, score_bin
from ichd.domain.job import JobState
from ichd.domain.review import Agreement
from ichd.domain.study import StudyState
from ichd.store.job_row import is_open
from ichd.store.readings import figures_of_readings
from ichd.store.tables import FindingRow, JobRow, ReceiptRow, ReviewRow, StudyRow

HOUR = timedelta(hours=1)
#: Counted in every hour, so that it tells which hours were.
MARK = "studies_received"
#: There is no index over the time of receipts or of reviews, and an hour has fewer than these.
_LATEST = 100_000
_ENDED = (StudyState.REPORTED, StudyState.NOT_ANALYSED, StudyState.FAILED)


def figures_of_hour(session: Session, hour: datetime) -> Iterator[tuple[str, float]]:
    """Name and value of each figure of the hour that begins at `hour`; counting again gives the same."""
    end = hour + HOUR
    came = select(func.count()).where(StudyRow.received_at >= hour, StudyRow.received_at < end)
    yield MARK, session.scalar(came) or 0
    studies = _ended(session, hour)
    for state in _ENDED:
        yield f"studies_{state.value}", sum(study.state is state for study in studies)
    reported = [study for study in studies if study.state is StudyState.REPORTED]
    latencies = [_s(study.last_instance_at, study.finished_at) for study in reported]
    yield from _quantiles("latency", latencies)
    yield from counted("latency_bin", Counter(f"{duration_bin(each):02d}" for each in latencies if each is not None))
    yield from _quantiles("queue_wait", [_s(study.ready_at, study.started_at) for study in reported])
    # Also of a study whose report was given up: the model spoke about it.
    yield from counted("triage", Counter(study.triage.value for study in studies if study.triage is not None))
    scores = [study.scan["any"] for study in studies if study.scan and "any" in study.scan]
    if scores:
        yield "mean_any", sum(scores) / len(scores)
    yield from counted("any_bin", Counter(f"{score_bin(score):02d}" for score in scores))
    yield from figures_of_readings(session, [study.finding_id for study in studies if study.scan])
    yield from counted("words", _words(session, hour))
    for row in _delivered(session, hour):
        yield f"deliveries_ok/{row.destination}", row.reports
    for lost in _dead(session, hour):
        yield f"deliveries_dead/{lost.destination}", lost.reports


def counted(family: str, counts: Mapping[str, int]) -> Iterator[tuple[str, float]]:
    """Each count under the name of its family."""
    for name, count in sorted(counts.items()):
        yield f"{family}/{name}", count


def _ended(session: Session, hour: datetime) -> Sequence[Any]:
    """Studies that ended within an hour, with the finding of their revision."""
    # Two ranges of one index; the images of a study that ended within the hour may be dropped by now.
    here = or_(StudyRow.images_dropped_at.is_(None), StudyRow.images_dropped_at >= hour)
    statement = (
        select(
            StudyRow.state,
            StudyRow.last_instance_at,
            StudyRow.ready_at,
            StudyRow.started_at,
            StudyRow.finished_at,
            FindingRow.id.label("finding_id"),
            FindingRow.triage,
            FindingRow.scan,
        )
        .outerjoin(FindingRow, (FindingRow.study_id == StudyRow.id) & (FindingRow.revision == StudyRow.revision))
        .where(here, StudyRow.finished_at >= hour, StudyRow.finished_at < hour + HOUR)
    )
    return session.execute(statement).all()


def _words(session: Session, hour: datetime) -> Counter[str]:
    """Findings that readers spoke of within the hour, by triage and by whether the newest word found it right.

    A reader who says what is really there is believed in that; else his agreement is taken.
    """
    newest = session.scalar(select(func.max(ReviewRow.id))) or 0
    same = (FindingRow.study_id == ReviewRow.study_id) & (FindingRow.revision == ReviewRow.revision)
    statement = (
        select(ReviewRow.study_id, ReviewRow.revision, ReviewRow.agreement, ReviewRow.truth, FindingRow.triage)
        .join(FindingRow, same)
        .where(ReviewRow.id > newest - _LATEST, ReviewRow.received_at >= hour, ReviewRow.received_at < hour + HOUR)
        .order_by(ReviewRow.received_at, ReviewRow.id)
    )
    standing = {(word.study_id, word.revision): word for word in session.execute(statement)}
    return Counter(
        f"{word.triage.value}/{'right' if _is_right(word.triage, word.agreement, word.truth) else 'wrong'}"
        for word in standing.values()
        if word.triage is not None
    )


def _is_right(triage: Triage, agreement: Agreement, truth: Mapping[str, Any]) -> bool:
    bleeds = truth.get("any")
    if bleeds is None or triage is Triage.INDETERMINATE:
        return agreement is Agreement.AGREED
    return bool(bleeds) is (triage is Triage.URGENT)


def _delivered(session: Session, hour: datetime) -> Sequence[Row[str, int]]:
    newest = session.scalar(select(func.max(ReceiptRow.id))) or 0
    within = (ReceiptRow.sent_at >= hour, ReceiptRow.sent_at < hour + HOUR)
    statement = select(ReceiptRow.destination, func.count().label("reports")).group_by(ReceiptRow.destination)
    return session.execute(statement.where(ReceiptRow.id > newest - _LATEST, *within)).all()


def _dead(session: Session, hour: datetime) -> Sequence[Row[str | None, int]]:
    dead = (is_open(JobState.DEAD), JobRow.destination.is_not(None))
    within = (JobRow.finished_at >= hour, JobRow.finished_at < hour + HOUR)
    statement = select(JobRow.destination, func.count().label("reports")).group_by(JobRow.destination)
    return session.execute(statement.where(*dead, *within)).all()


def _quantiles(name: str, values: Sequence[float | None]) -> Iterator[tuple[str, float]]:
    """The nearest rank: a value that really was."""
    known = sorted(value for value in values if value is not None)
    for percent in (50, 95, 99):
        if known:
            yield f"{name}_p{percent}_s", known[math.ceil(percent / 100 * len(known)) - 1]


def _s(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else (end - begin).total_seconds()
