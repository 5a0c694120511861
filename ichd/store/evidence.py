"""The evidence of a study's arrival, for `ichd.domain.completeness`.

Looked for four times a second over every study that is being received, so what is dear is looked for only when the rest
would close the study, and once for as long as no image comes in.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.completeness import Announcement, Carrier, CompletenessPolicy, Evidence, may_close
from ichd.domain.geometry import holes_in_stacks
from ichd.store.tables import AnnouncementRow, ArrivalRow, AssociationRow, InstanceRow, RefusalRow, SeriesRow, StudyRow


@dataclass(frozen=True, kw_only=True)
class HeaderEvidence:
    """What the headers of a study's images say together."""

    #: Images that were looked at.
    images: int
    holes: int
    #: Number of Study Related Instances (0020,1208), the largest of all headers.
    announced: int | None
    #: Sum over the series of what Number of Series Related Instances (0020,1209) names beyond what is there.
    series_short: int


class EvidenceRoom:
    """Remembers what the headers said of studies under reception. Belongs to one thread."""

    def __init__(self) -> None:
        self._headers: dict[int, HeaderEvidence] = {}

    def forget_others(self, study_ids: Collection[int]) -> None:
        """Keep only what is known of these studies."""
        self._headers = {study_id: self._headers[study_id] for study_id in study_ids if study_id in self._headers}

    def gather(
        self, session: Session, study_ids: Collection[int], policy: CompletenessPolicy, *, now: datetime
    ) -> dict[int, Evidence]:
        """The evidence by study id; that of the headers only of studies that it could close."""
        if not study_ids:
            return {}
        studies = select(StudyRow.id, StudyRow.last_instance_at).where(StudyRow.id.in_(study_ids))
        carriers = _carriers(session, study_ids)
        announcements = _announcements(session, study_ids)
        stored = _stored(session, study_ids)
        gathered = {}
        for study_id, last_instance_at in session.execute(studies).all():
            evidence = Evidence(
                last_instance_at=last_instance_at,
                carriers=carriers[study_id],
                stored=stored[study_id],
                announcements=announcements[study_id],
            )
            if may_close(evidence, policy, now):
                evidence = _with_headers(evidence, self._headers_of(session, study_id, stored[study_id]))
            gathered[study_id] = evidence
        return gathered

    def _headers_of(self, session: Session, study_id: int, stored: int) -> HeaderEvidence:
        """A stored image is never changed and never taken away while its study is received: their number tells."""
        known = self._headers.get(study_id)
        if known is None or known.images != stored:
            known = self._headers[study_id] = _header_evidence(session, study_id)
        return known


def _carriers(session: Session, study_ids: Collection[int]) -> Mapping[int, Sequence[Carrier]]:
    carriers: dict[int, list[Carrier]] = defaultdict(list)
    statement = (
        select(
            ArrivalRow.study_id,
            AssociationRow.opened_at,
            AssociationRow.ended_at,
            AssociationRow.released,
            AssociationRow.refused,
        )
        .join_from(ArrivalRow, AssociationRow, ArrivalRow.association_id == AssociationRow.id)
        .where(ArrivalRow.study_id.in_(study_ids))
    )
    for study_id, opened_at, ended_at, released, refused in session.execute(statement):
        carrier = Carrier(opened_at=opened_at, ended_at=ended_at, clean=released and not refused)
        carriers[study_id].append(carrier)
    for study_id, refused_at in session.execute(_last_refusals(study_ids)):
        carriers[study_id].append(Carrier(opened_at=refused_at, ended_at=refused_at, clean=False))
    return carriers


def _last_refusals(study_ids: Collection[int]) -> Select[int, datetime]:
    """When an image of a study was turned away last, whoever brought it and whenever that association ends."""
    return (
        select(StudyRow.id, func.max(RefusalRow.refused_at))
        .join_from(StudyRow, RefusalRow, RefusalRow.study_instance_uid == StudyRow.study_instance_uid)
        .where(StudyRow.id.in_(study_ids))
        .group_by(StudyRow.id)
    )


def _announcements(session: Session, study_ids: Collection[int]) -> Mapping[int, Sequence[Announcement]]:
    announcements: dict[int, list[Announcement]] = defaultdict(list)
    statement = (
        select(StudyRow.id, AnnouncementRow)
        .join_from(StudyRow, AnnouncementRow, AnnouncementRow.study_instance_uid == StudyRow.study_instance_uid)
        .where(StudyRow.id.in_(study_ids))
    )
    for study_id, row in session.execute(statement):
        announcements[study_id].append(
            Announcement(
                kind=row.kind, source=row.source, complete=row.complete, instances=row.instances, made_at=row.made_at
            )
        )
    return announcements


def _stored(session: Session, study_ids: Collection[int]) -> Mapping[int, int]:
    statement = (
        select(SeriesRow.study_id, func.count(InstanceRow.id))
        .join_from(SeriesRow, InstanceRow, InstanceRow.series_id == SeriesRow.id)
        # A study whose images were dropped is received anew: those that have not come again are still to come.
        .where(SeriesRow.study_id.in_(study_ids), InstanceRow.dropped_at.is_(None))
        .group_by(SeriesRow.study_id)
    )
    return defaultdict(int, [(study_id, count) for study_id, count in session.execute(statement)])


def _header_evidence(session: Session, study_id: int) -> HeaderEvidence:
    facts = InstanceRow.facts
    statement = (
        select(
            InstanceRow.series_id,
            facts["image_position"],
            facts["image_orientation"],
            facts["study_related_instances"],
            facts["series_related_instances"],
        )
        .join_from(InstanceRow, SeriesRow, InstanceRow.series_id == SeriesRow.id)
        .where(SeriesRow.study_id == study_id, InstanceRow.dropped_at.is_(None))
    )
    rows = session.execute(statement).all()
    slices = ((series_id, _tuple(position), _tuple(orientation)) for series_id, position, orientation, _, _ in rows)
    return HeaderEvidence(
        images=len(rows),
        holes=holes_in_stacks(slices),
        announced=max((study for _, _, _, study, _ in rows if study), default=None),
        series_short=_series_short((series_id, number) for series_id, _, _, _, number in rows),
    )


def _series_short(rows: Iterable[tuple[int, int | None]]) -> int:
    stored: Counter[int] = Counter()
    named: dict[int, int] = defaultdict(int)
    for series_id, number in rows:
        stored[series_id] += 1
        named[series_id] = max(named[series_id], number or 0)
    return sum(max(0, number - stored[series_id]) for series_id, number in named.items())


def _tuple(numbers: list[float] | None) -> Any:
    """A vector as it was before it was JSON."""
    return None if numbers is None else tuple(numbers)


def _with_headers(evidence: Evidence, headers: HeaderEvidence) -> Evidence:
    announcements = list(evidence.announcements)
    if headers.announced is not None:
        announcements.append(
            Announcement(
                kind=AnnouncementKind.HEADER,
                source="the images",
                complete=False,
                instances=headers.announced,
                made_at=evidence.last_instance_at,
            )
        )
    return replace(evidence, announcements=announcements, holes=headers.holes, series_short=headers.series_short)
