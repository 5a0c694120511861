"""A study, its series, and the images that are stored of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ichd.domain.completeness import Closing
from ichd.domain.finding import Triage
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.columns import Base, Id


class StudyRow(Base):
    """A study and where it stands."""

    __tablename__ = "study"
    __table_args__ = (
        Index(None, "state", "received_at"),
        Index(None, "received_at"),
        # Which finished study still has its images, the oldest first.
        Index(None, "images_dropped_at", "finished_at"),
        # The worklist by triage, with or without a state, newest first.
        Index(None, "triage", "state", "received_at"),
        # What begins with some text. PostgreSQL's order of words is not that of characters, unless it is told so.
        Index("ix_study_accession_prefix", "accession_key", postgresql_ops={"accession_key": "varchar_pattern_ops"}),
        Index(
            "ix_study_uid_prefix", "study_instance_uid", postgresql_ops={"study_instance_uid": "varchar_pattern_ops"}
        ),
    )

    id: Mapped[Id]
    study_instance_uid: Mapped[str] = mapped_column(unique=True)
    accession_number: Mapped[str]
    #: The same in lower case (`ichd.store.prefix`), to be searched.
    accession_key: Mapped[str] = mapped_column(default="")
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
    #: The numbers behind it, for people.
    closing_detail: Mapped[str] = mapped_column(default="")
    reason: Mapped[Reason | None]
    detail: Mapped[str] = mapped_column(default="")
    #: Since when its images are gone, all that it had then; NULL while they are here, or when it is received again.
    images_dropped_at: Mapped[datetime | None]
    #: Of the newest revision that came to a finding, read or not; a copy, for lists of a million studies.
    triage: Mapped[Triage | None]


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
    #: Its file went by retention; a resend brings it back.
    dropped_at: Mapped[datetime | None]


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
    dropped_at: Mapped[datetime | None]


class RemovalRow(Base):
    """An object that is to leave the bucket, by what it holds; there is none once it has left."""

    __tablename__ = "removal"

    id: Mapped[Id]
    sha256: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int]
    owed_at: Mapped[datetime]
    #: Somebody is removing it until then; None where nobody does.
    claimed_until: Mapped[datetime | None]
    #: How often it was claimed: only the last claim may take the row away.
    claims: Mapped[int] = mapped_column(default=0, server_default="0")


class UploadRow(Base):
    """A file that is durable on one machine and still owed to the bucket; there is none once it is there."""

    __tablename__ = "upload"
    __table_args__ = (Index(None, "machine", "id"),)

    id: Mapped[Id]
    #: As in `instance.path` and `conflict.path`.
    path: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str]
    size: Mapped[int]
    #: Where the file lies; nobody else can bring it.
    machine: Mapped[str]
    stored_at: Mapped[datetime]
