"""The history of a study for people: what each revision came to, and what was rendered for its destinations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, select

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.store.outbox import outbox_beside
from ichd.store.revisions import Revision, revisions_of
from ichd.store.spool import Spool, StoredFile
from ichd.store.tables import RenditionRow, StudyRow
from ichd.store.transaction import reading


@dataclass(frozen=True, kw_only=True)
class SentObject:
    """An object or message of the outbox."""

    #: What `History.content` takes.
    id: int
    revision: int
    kind: ObjectKind
    #: Of several of one kind, counted from 1.
    number: int
    #: Of a message, which names its receiver; empty for what all destinations get alike.
    destination: str
    #: Bytes.
    size: int
    rendered_at: datetime
    #: Whether its file lies on this machine; an outbox forgets what is old.
    is_here: bool


class History:
    """Each method is one transaction; all raise Transient where the database fails."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        """`spool` is that of the images; the outbox lies beside it."""
        self._engine = engine
        self._files = outbox_beside(spool)

    def revisions(self, study_uid: str) -> tuple[Revision, ...]:
        """What each revision came to, oldest first; none where the study is unknown."""
        return revisions_of(self._engine, study_uid)

    def objects(self, study_uid: str) -> tuple[SentObject, ...]:
        """What was rendered, the newest revision first."""
        statement = (
            _statement(study_uid)
            .where(RenditionRow.number > 0)
            .order_by(RenditionRow.revision.desc(), RenditionRow.kind, RenditionRow.destination, RenditionRow.number)
        )
        with reading(self._engine) as session:
            rows = session.execute(statement).all()
        return tuple(
            SentObject(
                id=row.id,
                revision=row.revision,
                kind=row.kind,
                number=row.number,
                destination=row.destination,
                size=row.size,
                rendered_at=row.rendered_at,
                is_here=bool(row.path) and self._files.holds(_stored(row)),
            )
            for row in rows
        )

    def content(self, study_uid: str, id_: int) -> tuple[ObjectKind, bytes] | None:
        """Kind and bytes of one; None where the study has no such object.

        Raises:
            Permanent: FILE_DAMAGED, the file went with age, or is not what it was.
            Transient: STORE_UNAVAILABLE, the disk fails.
        """
        with reading(self._engine) as session:
            row = session.execute(_statement(study_uid).where(RenditionRow.id == id_)).one_or_none()
        if row is None:
            return None
        if not row.path or not self._files.is_intact(_stored(row)):
            raise Permanent(Reason.FILE_DAMAGED, f"{row.kind} {row.number} of revision {row.revision} is not here")
        try:
            return row.kind, self._files.locate(row.path).read_bytes()
        except OSError as error:
            raise Transient(Reason.STORE_UNAVAILABLE, f"outbox: {error.strerror}") from error


def _statement(study_uid: str) -> Any:
    return (
        select(
            RenditionRow.id,
            RenditionRow.revision,
            RenditionRow.kind,
            RenditionRow.number,
            RenditionRow.destination,
            RenditionRow.path,
            RenditionRow.sha256,
            RenditionRow.size,
            RenditionRow.rendered_at,
        )
        .join(StudyRow, RenditionRow.study_id == StudyRow.id)
        .where(StudyRow.study_instance_uid == study_uid)
    )


def _stored(row: Row[Any]) -> StoredFile:
    return StoredFile(path=row.path, sha256=row.sha256, size=row.size)
