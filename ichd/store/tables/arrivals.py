"""How images came: associations and what they carried, what was turned away, what others say of a study."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ichd.domain.arrival import AnnouncementKind, CommitmentState, Door
from ichd.domain.reason import Reason
from ichd.store.columns import Base, Id


class AssociationRow(Base):
    """One association, or one request over the web, that carried images; the evidence that completeness weighs."""

    __tablename__ = "association"

    id: Mapped[Id]
    door: Mapped[Door] = mapped_column(default=Door.DIMSE)
    #: Of a request over the web the name of the account; of a pull the name of the source.
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
    #: As the header says, where it could be read.
    study_instance_uid: Mapped[str | None] = mapped_column(index=True)


class AnnouncementRow(Base):
    """What somebody said of a study: how many images it has, or that it is complete; it may come before any image."""

    __tablename__ = "announcement"
    __table_args__ = (
        UniqueConstraint("kind", "source", "key"),
        # A procedure step is one, whoever tells of it.
        Index(
            "uq_announcement_step",
            "key",
            unique=True,
            sqlite_where=text("kind = 'performed_step'"),
            postgresql_where=text("kind = 'performed_step'"),
        ),
        Index(None, "source", "made_at"),
    )

    id: Mapped[Id]
    #: Empty for a procedure step that makes no images of ours: it is kept so that its updates find it.
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    kind: Mapped[AnnouncementKind]
    #: AE title of who said it, or name of the source that was asked.
    source: Mapped[str]
    #: What it was said in: the UID of a performed procedure step, else of the study.
    key: Mapped[str]
    #: It says that nothing more will come.
    complete: Mapped[bool]
    #: CT images that the study has by its word; None where it names no number.
    instances: Mapped[int | None]
    made_at: Mapped[datetime]


class CommitmentRow(Base):
    """A request to vouch for images (PS3.4 annex J), until its answer was taken."""

    __tablename__ = "commitment"
    __table_args__ = (UniqueConstraint("calling_ae_title", "transaction_uid"), Index(None, "state", "run_at"))

    id: Mapped[Id]
    transaction_uid: Mapped[str]
    calling_ae_title: Mapped[str]
    address: Mapped[str]
    requested_at: Mapped[datetime]
    #: How many images it asks about.
    images: Mapped[int]
    #: Pairs of SOP Class UID and SOP Instance UID.
    instances: Mapped[list[list[str]]]
    state: Mapped[CommitmentState]
    attempts: Mapped[int] = mapped_column(default=0)
    run_at: Mapped[datetime]
    reason: Mapped[Reason | None]
    detail: Mapped[str] = mapped_column(default="")
    finished_at: Mapped[datetime | None]
