"""Files whose rows say that they were dropped are deleted, wherever they lie."""

from collections.abc import Callable, Sequence

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.store.draft import StoredFile
from ichd.store.kept import dropped_among
from ichd.store.study_row import known
from ichd.store.tables import ConflictRow, InstanceRow, SeriesRow
from ichd.store.transaction import writing


def remove_dropped(engine: Engine, files: Sequence[StoredFile], drop: Callable[[StoredFile], None]) -> None:
    """`drop` those of some files whose rows say so; their studies are held, since a resend may just bring one back.

    In a bucket the same bytes have the same name whenever they come: what was brought back meanwhile must stay. Whoever
    brings it back waits for us, and goes to the bucket after its row is committed, or we see its row.

    Raises:
        Transient: the database fails, or `drop` does.
    """
    if not files:
        return
    paths = [file.path for file in files]
    with writing(engine) as session:
        for study_id in _studies_of(session, paths):
            known(session, study_id)
        gone = dropped_among(session, paths)
        for file in files:
            if file.path in gone:
                drop(file)


def _studies_of(session: Session, paths: Sequence[str]) -> list[int]:
    """In their order, which is the same for all who lock several."""
    images = select(SeriesRow.study_id).join(InstanceRow).where(InstanceRow.path.in_(paths))
    conflicts = select(ConflictRow.study_id).where(ConflictRow.path.in_(paths))
    return sorted({*session.scalars(images), *session.scalars(conflicts)})
