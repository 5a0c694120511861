"""What must hold of an installation after a bad day, whatever happened in it; read from its database and its disks."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pydicom
from sqlalchemy import Engine, func, or_, select, union_all
from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent
from ichd.domain.job import JobState
from ichd.domain.study import StudyState
from ichd.store.spool import Spool
from ichd.store.tables import (
    AuditRow,
    ConflictRow,
    InstanceRow,
    JobRow,
    ReceiptRow,
    RenditionRow,
    SeriesRow,
    StudyRow,
    TickRow,
)
from ichd.store.transaction import reading

FINAL = (StudyState.REPORTED, StudyState.NOT_ANALYSED, StudyState.FAILED)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Each a count of what must not be."""

    #: Acknowledged images that are not in the spool with their bytes, and that retention did not drop as it may: a disk
    #: that is full makes room of studies that are done with, and keeps their rows.
    lost: int
    #: Studies that are in no final state.
    unfinished: int
    #: Studies that were sent whole and have no report.
    unreported: int
    #: Objects that a receipt names and the destination does not hold.
    missing_objects: int
    #: Objects of one kind, revision and study at one destination beyond the first, and objects that nobody rendered.
    extra_objects: int
    #: Jobs and ticks whose lease outlived their worker.
    leases: int
    #: Files that are no whole file.
    partial_files: int

    @property
    def broken(self) -> dict[str, int]:
        """Those that do not hold."""
        return {name: count for name, count in vars(self).items() if count}


def examine(
    engine: Engine,
    disk: Path,
    destinations: Mapping[str, Path],
    *,
    acknowledged: Iterable[str],
    sent_whole: Iterable[str],
    now: datetime,
) -> Verdict:
    """The state of things once all roles have stopped.

    `acknowledged` are SHA-256 of files, `sent_whole` Study Instance UIDs, `destinations` folders of what each took.
    """
    spool = Spool(disk / "spool")
    with reading(engine) as session:
        rows = union_all(
            select(InstanceRow.path, InstanceRow.sha256).where(InstanceRow.dropped_at.is_(None)),
            select(ConflictRow.path, ConflictRow.sha256).where(ConflictRow.dropped_at.is_(None)),
        )
        stored = {row.sha256: row.path for row in session.execute(rows)}
        dropped = _dropped(session)
        states = dict(session.execute(select(StudyRow.study_instance_uid, StudyRow.state)).all())
        jobs = select(func.count()).where(or_(JobRow.state == JobState.LEASED, JobRow.lease_until.is_not(None)))
        ticks = select(func.count()).where(TickRow.lease_until > now)
        leases = session.scalars(jobs).one() + session.scalars(ticks).one()
        rendered = {
            row.sop_instance_uid: (row.study_id, row.revision, row.kind, row.number)
            for row in session.execute(select(RenditionRow).with_only_columns(*RenditionRow.__table__.columns))
        }
        receipts: dict[str, set[str]] = defaultdict(set)
        for destination, uids in session.execute(select(ReceiptRow.destination, ReceiptRow.sop_instance_uids)):
            receipts[destination].update(uids)
    missing = extra = 0
    for name, folder in destinations.items():
        held = Counter(_uid(path) for path in folder.iterdir())
        missing += len(receipts[name] - held.keys())
        # A rendition's key is unique, so that two objects under one key have the same UID.
        extra += sum(count - 1 for count in held.values()) + sum(uid not in rendered for uid in held)
    return Verdict(
        lost=sum(sha256 not in dropped and not _is_whole(spool, sha256, stored) for sha256 in acknowledged),
        unfinished=sum(state not in FINAL for state in states.values()),
        unreported=sum(states.get(uid) is not StudyState.REPORTED for uid in sent_whole),
        missing_objects=missing,
        extra_objects=extra,
        leases=leases,
        partial_files=sum(1 for _ in disk.rglob("*.part")),
    )


def _dropped(session: Session) -> frozenset[str]:
    """SHA-256 of what retention dropped, of studies that were done with when it did: the audit trail tells of each."""
    uid = AuditRow.subject["study_instance_uid"].as_string()
    told = session.scalars(select(uid).where(AuditRow.event == AuditEvent.IMAGES_DROPPED)).all()
    images = (
        select(InstanceRow.sha256)
        .join(SeriesRow, InstanceRow.series_id == SeriesRow.id)
        .join(StudyRow, SeriesRow.study_id == StudyRow.id)
        .where(InstanceRow.dropped_at.is_not(None), StudyRow.study_instance_uid.in_(told))
    )
    conflicts = (
        select(ConflictRow.sha256)
        .join(StudyRow, ConflictRow.study_id == StudyRow.id)
        .where(ConflictRow.dropped_at.is_not(None), StudyRow.study_instance_uid.in_(told))
    )
    return frozenset(session.scalars(union_all(images, conflicts)))


def _uid(file: Path) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _is_whole(spool: Spool, sha256: str, stored: Mapping[str, str]) -> bool:
    path = stored.get(sha256)
    if path is None:
        return False
    file = spool.locate(path)
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256
