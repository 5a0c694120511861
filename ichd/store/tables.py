"""The tables. Facts of images, states of studies, the queue, findings and receipts; never who the patient is.

Text columns have no length: PostgreSQL would refuse what SQLite takes, and a limit is intake's decision. Ids are 64
bits wide. Indices serve four questions that must stay fast with a million studies: which job is next, which lease
expired, which studies still receive, and what arrived last.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ichd.domain.completeness import Closing
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.columns import Base, Id

__all__ = [
    "ArrivalRow",
    "AssociationRow",
    "Base",
    "ConflictRow",
    "DestinationRow",
    "FindingRow",
    "InstallationRow",
    "InstanceRow",
    "JobRow",
    "ReceiptRow",
    "RefusalRow",
    "SeriesRow",
    "StudyRow",
]


class InstallationRow(Base):
    """The one row that says which database this is; `ichd.store.ownership` compares it with the spool's."""

    __tablename__ = "installation"

    id: Mapped[Id]
    #: Random, made at first use.
    code: Mapped[str]
    #: A spool has taken the code.
    has_spool: Mapped[bool]


class StudyRow(Base):
    """A study and where it stands."""

    __tablename__ = "study"
    __table_args__ = (Index(None, "state", "received_at"), Index(None, "received_at"))

    id: Mapped[Id]
    study_instance_uid: Mapped[str] = mapped_column(unique=True)
    accession_number: Mapped[str]
    #: StudyDate + StudyTime as they stand in the header, for lists only.
    study_datetime: Mapped[str]
    state: Mapped[StudyState]
    revision: Mapped[int] = mapped_column(default=1)
    received_at: Mapped[datetime]
    last_instance_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    closing: Mapped[Closing | None]
    reason: Mapped[Reason | None]
    detail: Mapped[str] = mapped_column(default="")


class SeriesRow(Base):
    """A series of a study."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("study_id", "series_instance_uid"),)

    id: Mapped[Id]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    series_instance_uid: Mapped[str]


class InstanceRow(Base):
    """A stored image: the first bytes that arrived under its SOP Instance UID."""

    __tablename__ = "instance"

    id: Mapped[Id]
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(unique=True)
    sop_class_uid: Mapped[str]
    #: `ichd.store.facts` writes and reads it.
    facts: Mapped[dict[str, Any]]
    sha256: Mapped[str]
    size: Mapped[int]
    path: Mapped[str] = mapped_column(unique=True)
    #: Revision of the study that the image came with.
    revision: Mapped[int]
    received_at: Mapped[datetime]
    association_id: Mapped[int] = mapped_column(ForeignKey("association.id"))


class ConflictRow(Base):
    """Other bytes under a SOP Instance UID that is already stored: kept, shown, never read."""

    __tablename__ = "conflict"
    __table_args__ = (UniqueConstraint("sop_instance_uid", "sha256"),)

    id: Mapped[Id]
    #: The study that these bytes claim to belong to.
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    #: The image that was there first, perhaps of another study.
    instance_id: Mapped[int] = mapped_column(ForeignKey("instance.id"), index=True)
    sop_instance_uid: Mapped[str]
    sha256: Mapped[str]
    size: Mapped[int]
    path: Mapped[str] = mapped_column(unique=True)
    received_at: Mapped[datetime]
    association_id: Mapped[int] = mapped_column(ForeignKey("association.id"))


class AssociationRow(Base):
    """One association that carried images; the evidence that completeness weighs."""

    __tablename__ = "association"

    id: Mapped[Id]
    calling_ae_title: Mapped[str]
    address: Mapped[str]
    opened_at: Mapped[datetime]
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    #: It ended by A-RELEASE, not by an abort, a lost connection or our own death.
    released: Mapped[bool] = mapped_column(default=False)
    #: Images that were refused in it: they are missing from its studies until they are sent again.
    refused: Mapped[int] = mapped_column(default=0)
    #: Where its listener listened; whoever listens there next knows that this one is dead.
    listener: Mapped[str]


class ArrivalRow(Base):
    """Which association carried images of which study."""

    __tablename__ = "arrival"

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), primary_key=True)
    association_id: Mapped[int] = mapped_column(ForeignKey("association.id"), primary_key=True, index=True)


class FindingRow(Base):
    """What one revision of a study came to, read or not."""

    __tablename__ = "finding"
    __table_args__ = (UniqueConstraint("study_id", "revision"),)

    id: Mapped[Id]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int]
    #: The earlier revision whose report this one's replaces; fixed here, so that a resend says the same.
    predecessor_revision: Mapped[int | None]
    created_at: Mapped[datetime]
    #: Copies of what lists show: a record of 400 slices is 100 kB, too much for each line of a list.
    triage: Mapped[Triage | None]
    scan: Mapped[dict[str, Any] | None]
    record: Mapped[dict[str, Any]] = mapped_column(deferred=True)


class JobRow(Base):
    """A piece of work and where it stands."""

    __tablename__ = "job"
    __table_args__ = (
        Index(None, "state", "priority", "run_at"),
        # A revision is read once, and delivered once to each destination. NULLs differ from one another in a unique
        # constraint, so that the second leaves analyse jobs to the first.
        Index(
            "uq_job_analyse",
            "study_id",
            "revision",
            unique=True,
            sqlite_where=text("destination IS NULL"),
            postgresql_where=text("destination IS NULL"),
        ),
        UniqueConstraint("study_id", "revision", "destination"),
    )

    id: Mapped[Id]
    kind: Mapped[JobKind]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int]
    destination: Mapped[str | None]
    state: Mapped[JobState]
    #: Lower goes first.
    priority: Mapped[int]
    run_at: Mapped[datetime]
    #: Counted at claim; with the owner it names one lease.
    attempt: Mapped[int] = mapped_column(default=0)
    #: Attempts that may have brought their report to the destination, and have no receipt.
    unsettled: Mapped[int] = mapped_column(default=0)
    #: Leases in a row that ended with the death of their worker.
    deaths: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    #: NULL unless leased, so that the index finds expired leases among millions of finished jobs.
    lease_until: Mapped[datetime | None] = mapped_column(index=True)
    #: Done without being done: a newer revision made it pointless.
    superseded: Mapped[bool] = mapped_column(default=False)
    #: The last error, kept while it is retried.
    reason: Mapped[Reason | None]
    detail: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    study: Mapped[StudyRow] = relationship()


class DestinationRow(Base):
    """How a destination answered last; there is none for one that never failed."""

    __tablename__ = "destination"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    #: In a row, up to now.
    failures: Mapped[int]
    closed_until: Mapped[datetime]


class ReceiptRow(Base):
    """Proof that a destination took a report."""

    __tablename__ = "receipt"

    id: Mapped[Id]
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), unique=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    revision: Mapped[int]
    destination: Mapped[str]
    sent_at: Mapped[datetime]
    sop_instance_uids: Mapped[list[str]]
    sop_class_uid: Mapped[str]
    status: Mapped[str]


class RefusalRow(Base):
    """An image that was turned away at the door; nothing of it is kept but the two UIDs that the sender named."""

    __tablename__ = "refusal"

    id: Mapped[Id]
    refused_at: Mapped[datetime] = mapped_column(index=True)
    reason: Mapped[Reason]
    detail: Mapped[str]
    calling_ae_title: Mapped[str]
    address: Mapped[str]
    #: None where it was not a UID.
    sop_class_uid: Mapped[str | None]
    sop_instance_uid: Mapped[str | None]
