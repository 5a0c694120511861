"""The tables. Facts of images, states of studies, the queue, findings and receipts; never who the patient is.

Text columns have no length: PostgreSQL would refuse what SQLite takes, and a limit is intake's decision. Ids are 64
bits wide. Indices serve four questions that must stay fast with a million studies: which job is next, which lease
expired, which studies still receive, and what arrived last.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from ichd.domain.completeness import Closing
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in Python; `timestamptz` in PostgreSQL, UTC text that sorts by time in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive time: nobody can say later which clock it was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite gives the text back without a zone, PostgreSQL in the session's zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Coded(TypeDecorator[StrEnum]):
    """An enumeration kept as its code, without a CHECK constraint: a new code must not need a migration."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Only members have codes: a misspelt one must not be stored."""
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """The member of a code."""
        return None if value is None else self.kind(value)


#: SQLite numbers rows by itself only where the key is exactly INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")
Id = Annotated[int, mapped_column(_Key, primary_key=True)]


class Base(DeclarativeBase):
    """Common ground of the tables. Constraints have fixed names, by which SQLite's batch migrations address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own name and form
        int: _Key,
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(),
        StudyState: Coded(StudyState),
        Closing: Coded(Closing),
        Triage: Coded(Triage),
        Reason: Coded(Reason),
        JobKind: Coded(JobKind),
        JobState: Coded(JobState),
    }


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
