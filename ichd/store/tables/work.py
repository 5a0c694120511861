"""The queue, what came of the work, what was sent where, and what readers say of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ichd.domain.delivery import ObjectKind, Proof
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, ReviewSource
from ichd.store.columns import Base, Id
from ichd.store.tables.studies import StudyRow


def _where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class InstallationRow(Base):
    """The one row that says which database this is; `ichd.store.ownership` compares it with the spool's."""

    __tablename__ = "installation"

    id: Mapped[Id]
    #: Random, made at first use.
    code: Mapped[str]
    #: A spool has taken the code.
    has_spool: Mapped[bool]


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
        # What waits, in the order in which it is taken: a handful of entries beside millions of finished jobs. Readings
        # have no destination, and each destination has a lane of its own. They are two, since PostgreSQL takes no
        # order from an index behind an IS NULL: it would sort all that waits at each claim.
        Index("ix_job_readings", "order_at", "id", **_where("state = 'queued' AND destination IS NULL")),
        Index(
            "ix_job_deliveries",
            "destination",
            "order_at",
            "id",
            **_where("state = 'queued' AND destination IS NOT NULL"),
        ),
        # What is leased: expired leases, and destinations that are being tried.
        Index("ix_job_leased", "lease_until", "destination", **_where("lease_until IS NOT NULL")),
        # What a person has to look at, beside millions that need none.
        Index("ix_job_dead", "destination", "order_at", **_where("state = 'dead'")),
        # A revision is read once, and delivered once to each destination. NULLs differ from one another in a unique
        # constraint, so that the second leaves analyse jobs to the first.
        Index(
            "uq_job_analyse",
            "study_id",
            "revision",
            unique=True,
            **_where("destination IS NULL"),
        ),
        UniqueConstraint("study_id", "revision", "destination"),
    )

    id: Mapped[Id]
    kind: Mapped[JobKind]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int]
    destination: Mapped[str | None]
    state: Mapped[JobState]
    #: Not before.
    run_at: Mapped[datetime]
    #: Earlier goes first (`ichd.domain.job.order_of`).
    order_at: Mapped[datetime]
    #: Since when it is owed: its making, or when a person revived it.
    owed_since: Mapped[datetime]
    #: Counted at claim; with the owner it names one lease.
    attempt: Mapped[int] = mapped_column(default=0)
    #: Attempts that may have brought their report to the destination, and have no receipt.
    unsettled: Mapped[int] = mapped_column(default=0)
    #: Leases in a row that ended with the death of their worker.
    deaths: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    #: The owner of the present lease has really begun; a lease that ran out before that kills nobody's count.
    begun: Mapped[bool] = mapped_column(default=False)
    #: NULL unless leased.
    lease_until: Mapped[datetime | None]
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
    #: Kinds that the destination was to get and does not take.
    left_out: Mapped[list[str]]
    proof: Mapped[Proof]
    proved_at: Mapped[datetime | None]


class RenditionRow(Base):
    """An object or message about one revision, rendered once: whoever sends it again sends the same bytes."""

    __tablename__ = "rendition"
    __table_args__ = (UniqueConstraint("study_id", "revision", "kind", "destination", "number"),)

    id: Mapped[Id]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int]
    kind: Mapped[ObjectKind]
    #: Of a message, which names its receiver; empty for what all destinations get alike.
    destination: Mapped[str]
    #: Of several of one kind, counted from 1; 0 alone says that there is nothing of this kind to send.
    number: Mapped[int]
    sop_class_uid: Mapped[str]
    #: Of a message, its control id.
    sop_instance_uid: Mapped[str] = mapped_column(index=True)
    #: In the outbox; empty where there is nothing.
    path: Mapped[str]
    sha256: Mapped[str]
    size: Mapped[int]
    rendered_at: Mapped[datetime]


class PromiseRow(Base):
    """A destination was asked to take responsibility for what it got (storage commitment as a user)."""

    __tablename__ = "promise"

    id: Mapped[Id]
    transaction_uid: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    #: Who was asked, and alone may answer.
    ae_title: Mapped[str]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    #: SOP Instance UIDs that it takes responsibility for; NULL before the answer.
    committed: Mapped[list[str] | None]


class ReviewRow(Base):
    """What a reader says of a finding."""

    __tablename__ = "review"
    __table_args__ = (UniqueConstraint("study_id", "source", "key"),)

    id: Mapped[Id]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    #: Whose finding is meant.
    revision: Mapped[int]
    agreement: Mapped[Agreement]
    source: Mapped[ReviewSource]
    reviewer: Mapped[str]
    #: By class name, what is really there, as far as the reader says.
    truth: Mapped[dict[str, Any]]
    #: The same word said twice has the same key.
    key: Mapped[str]
    received_at: Mapped[datetime]
