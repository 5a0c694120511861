"""What a study holds, as values: its images for a reader, its finding for a report."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, select, union_all
from sqlalchemy.orm import Session, undefer

from ichd.domain.delivery import Receipt
from ichd.domain.image_file import Bring, ImageFile, all_here
from ichd.domain.record import Record
from ichd.domain.study import SeriesFacts, StudyFacts
from ichd.store.facts import facts_from_json
from ichd.store.spool import Spool, StoredFile
from ichd.store.tables import FindingRow, InstanceRow, JobRow, ReceiptRow, SeriesRow


@dataclass(frozen=True, kw_only=True)
class StudyFiles:
    """What there is to read."""

    facts: StudyFacts
    revision: int
    #: By SOP Instance UID; an image that is not among them was dropped.
    files: Mapping[str, ImageFile]
    #: The same as the spool knows them, with their checksums.
    stored: Mapping[str, StoredFile]
    #: To be called before files are opened: they may lie in a bucket.
    bring: Bring = field(default=all_here, compare=False)
    #: When it was complete, and when somebody began to read it.
    ready_at: datetime
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """The report of an earlier revision that was or may have been delivered, and that this revision's replaces."""

    revision: int
    #: With study and revision it gives the UIDs of that report; empty where nothing was read.
    bundle_sha256: str


@dataclass(frozen=True, kw_only=True)
class DeliveryWork:
    """All that one report is made of; the same values at each attempt, so that a resend is the same object."""

    study_id: int
    study_uid: str
    revision: int
    destination: str
    #: Of a report that was sent and is to be proved.
    sent: Receipt | None
    record: Record
    #: When the finding was made.
    created_at: datetime
    predecessor: Predecessor | None
    #: Looks up the images of the series that was read, of all where none was: only who renders needs them.
    images: Callable[[], "ReadImages"]


@dataclass(frozen=True, kw_only=True)
class ReadImages:
    """The images behind a finding that are here, by SOP Instance UID."""

    files: Mapping[str, ImageFile]
    #: The same as the spool knows them.
    stored: Mapping[str, StoredFile]
    #: To be called before files are opened: they may lie in a bucket.
    bring: Bring = field(default=all_here, compare=False)


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """A row of an image, with the series that it belongs to."""

    series_instance_uid: str
    row: InstanceRow

    @property
    def stored(self) -> StoredFile:
        """Its file."""
        return StoredFile(path=self.row.path, sha256=self.row.sha256, size=self.row.size)

    @property
    def is_here(self) -> bool:
        """Whether its file was not dropped."""
        return self.row.dropped_at is None


def images_of(session: Session, study_id: int, *, series_uid: str | None = None) -> list[StoredImage]:
    """The images of a study, or of one of its series, in the order of their arrival. Conflicts are not among them."""
    statement = (
        select(SeriesRow.series_instance_uid, InstanceRow)
        .join_from(InstanceRow, SeriesRow)
        .where(SeriesRow.study_id == study_id)
        .order_by(InstanceRow.id)
    )
    if series_uid is not None:
        statement = statement.where(SeriesRow.series_instance_uid == series_uid)
    return [StoredImage(series_instance_uid=uid, row=row) for uid, row in session.execute(statement)]


def files_of(images: Iterable[StoredImage], spool: Spool) -> dict[str, ImageFile]:
    """Where images lie and what they must be, by SOP Instance UID; those that were dropped lie nowhere."""
    return {image.row.sop_instance_uid: spool.image(image.stored) for image in images if image.is_here}


def bringing(stored: Mapping[str, StoredFile], spool: Spool) -> Bring:
    """What brings images to this machine; of those that are not among them it knows nothing."""

    def bring(sop_uids: Collection[str]) -> None:
        spool.bring([stored[uid] for uid in dict.fromkeys(sop_uids) if uid in stored])

    return bring


def stored_of(images: Iterable[StoredImage]) -> dict[str, StoredFile]:
    """The same images as the spool knows them."""
    return {image.row.sop_instance_uid: image.stored for image in images if image.is_here}


def study_facts(study_uid: str, images: Iterable[StoredImage]) -> StudyFacts:
    """The images of a study as selection reads them."""
    by_series: dict[str, list[InstanceRow]] = {}
    for image in images:
        by_series.setdefault(image.series_instance_uid, []).append(image.row)
    return StudyFacts(
        study_instance_uid=study_uid,
        series=tuple(series_facts(study_uid, series_uid, rows) for series_uid, rows in by_series.items()),
    )


def series_facts(study_uid: str, series_uid: str, rows: Sequence[InstanceRow]) -> SeriesFacts:
    """The images of one series."""
    instances = (
        facts_from_json(
            row.facts,
            study_instance_uid=study_uid,
            series_instance_uid=series_uid,
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
        )
        for row in rows
    )
    return SeriesFacts(series_instance_uid=series_uid, instances=tuple(instances))


def select_finding(study_id: int, revision: int) -> Select[FindingRow]:
    """What a revision came to, with its record; no row before it came to anything."""
    statement = select(FindingRow).where(FindingRow.study_id == study_id, FindingRow.revision == revision)
    return statement.options(undefer(FindingRow.record))


def last_sent_revision(session: Session, study_id: int) -> int | None:
    """The newest revision whose report a destination took, or may have taken.

    A worker that dies between sending and the receipt leaves a report that may lie in the archive. To name it as
    replaced is right either way: a reference to a report that never arrived leads nowhere, while two reports that know
    nothing of one another leave the outdated one standing.
    """
    taken = select(ReceiptRow.revision).where(ReceiptRow.study_id == study_id)
    perhaps = select(JobRow.revision).where(JobRow.study_id == study_id, JobRow.unsettled > 0)
    revisions = session.scalars(union_all(taken, perhaps)).all()
    return max(revisions, default=None)


def predecessor_of(session: Session, finding: FindingRow) -> Predecessor | None:
    """The report that this finding's report replaces.

    It was fixed when the finding was made, and is the same for every destination: one SOP Instance UID must not stand
    for two contents.
    """
    if finding.predecessor_revision is None:
        return None
    earlier = session.scalars(select_finding(finding.study_id, finding.predecessor_revision)).one()
    model = earlier.record["model"]
    return Predecessor(revision=earlier.revision, bundle_sha256=model["bundle_sha256"] if model else "")
