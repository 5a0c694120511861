"""The outbox: what is sent about a study, rendered once and kept, so that who sends it again sends the same bytes.

Its files lie beside the spool, `<spool>.outbox`; their rows say what they are. They can be made again from the images,
so what is old goes, and what was damaged counts as absent. The rows stay: by them a reader's word about an object of
ours finds its study.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, exists, select, update
from sqlalchemy.orm import Session

from ichd.domain.delivery import ObjectKind, Outgoing, Rendered
from ichd.domain.job import JobKind, JobState
from ichd.store.spool import Spool, StoredFile
from ichd.store.tables import JobRow, RenditionRow
from ichd.store.transaction import insert_if_new, reading, writing

_SUFFIX = {
    ObjectKind.RESULT: ".hl7",
    ObjectKind.PRIORITY: ".hl7",
    ObjectKind.JSON: ".json",
    ObjectKind.JSON_IDENTIFIED: ".json",
}
#: Messages name their receiver: each destination has its own.
_OF_ONE_DESTINATION = frozenset({ObjectKind.RESULT, ObjectKind.PRIORITY})
#: Number of the one row that says that there is nothing of a kind.
_NOTHING = 0
_BATCH = 500

Kept = Mapping[ObjectKind, tuple[Outgoing, ...]]
Known = Mapping[ObjectKind, Sequence[RenditionRow]]


def outbox_beside(spool: Spool) -> Spool:
    """The files of the outbox that belongs to a spool of images."""
    root = spool.root.absolute()
    return Spool(root.with_name(f"{root.name}.outbox"))


class Outbox:
    """Safe for any number of threads and processes; every method raises Transient where database or disk fail."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        """`spool` is that of the images; the outbox lies beside it."""
        self._engine = engine
        self._files = outbox_beside(spool)

    def kept(self, study_id: int, revision: int, kinds: Collection[ObjectKind], *, destination: str) -> Kept:
        """What is there already of some kinds, intact; a kind of which there is nothing to send is there, and empty."""
        known = self.known(study_id, revision, destination=destination)
        found = {kind: self.intact(known[kind]) for kind in kinds if kind in known}
        return {kind: objects for kind, objects in found.items() if objects is not None}

    def known(self, study_id: int, revision: int, *, destination: str) -> Known:
        """What was ever kept for a destination, by its kind; `intact` says whether it is still there."""
        statement = (
            select(RenditionRow)
            .where(RenditionRow.study_id == study_id, RenditionRow.revision == revision)
            .where(RenditionRow.destination.in_(("", destination)))
            .order_by(RenditionRow.number)
        )
        known: dict[ObjectKind, list[RenditionRow]] = {}
        with reading(self._engine) as session:
            for row in session.scalars(statement):
                known.setdefault(row.kind, []).append(row)
        return known

    def intact(self, rows: Sequence[RenditionRow]) -> tuple[Outgoing, ...] | None:
        """The objects of one kind; None where a file of theirs is gone or damaged."""
        there = [row for row in rows if row.number != _NOTHING]
        return tuple(map(self._outgoing, there)) if all(map(self._is_intact, there)) else None

    def keep(
        self,
        study_id: int,
        revision: int,
        rendered: Mapping[ObjectKind, Sequence[Rendered]],
        *,
        destination: str,
        now: datetime,
    ) -> Kept:
        """Keep what was just made; where another courier was quicker, his is what counts. Returns what counts."""
        files = {
            kind: [self._files.write([each.content], _SUFFIX.get(kind, ".dcm")) for each in objects]
            for kind, objects in rendered.items()
        }
        unused: list[str] = []
        with writing(self._engine) as session:
            for kind, objects in rendered.items():
                key = {"study_id": study_id, "revision": revision, "kind": kind}
                key["destination"] = destination if kind in _OF_ONE_DESTINATION else ""
                unused += self._file_rows(session, key, objects, files[kind], now)
        for path in unused:
            self._files.discard(path)
        return self.kept(study_id, revision, rendered.keys(), destination=destination)

    def find(self, sop_instance_uid: str) -> Outgoing | None:
        """An object as it was sent; None where there is none of that name, or it is not whole on this machine."""
        statement = select(RenditionRow).where(RenditionRow.sop_instance_uid == sop_instance_uid)
        with reading(self._engine) as session:
            row = session.scalars(statement).first()
        return self._outgoing(row) if row is not None and self._is_intact(row) else None

    def kinds_of(self, study_id: int, revision: int, sop_instance_uids: Collection[str]) -> tuple[ObjectKind, ...]:
        """Of which kinds some objects are, in the order of their rendering."""
        statement = (
            select(RenditionRow.kind)
            .where(RenditionRow.study_id == study_id, RenditionRow.revision == revision)
            .where(RenditionRow.sop_instance_uid.in_(sop_instance_uids))
            .order_by(RenditionRow.id)
        )
        with reading(self._engine) as session:
            return tuple(dict.fromkeys(session.scalars(statement)))

    def sweep(self, *, older_than: timedelta, orphans_after: timedelta, now: datetime) -> int:
        """Remove files of what was rendered long ago and is owed to nobody, and files without a row; how many."""
        swept = 0
        owed = exists().where(
            JobRow.study_id == RenditionRow.study_id,
            JobRow.revision == RenditionRow.revision,
            JobRow.kind == JobKind.PUBLISH,
            JobRow.state.in_((JobState.QUEUED, JobState.LEASED)),
        )
        old = select(RenditionRow.id, RenditionRow.path).where(
            RenditionRow.path != "", RenditionRow.rendered_at < now - older_than, ~owed
        )
        while True:
            with writing(self._engine) as session:
                batch = session.execute(old.limit(_BATCH).with_for_update(skip_locked=True)).all()
                gone = update(RenditionRow).where(RenditionRow.id.in_([row.id for row in batch])).values(path="")
                session.execute(gone)
            if not batch:
                break
            for row in batch:
                self._files.discard(row.path)
            swept += len(batch)
        return swept + self._files.sweep(known=self._known, older_than=orphans_after, now=now, keep_orphans=False)

    def _known(self, paths: Sequence[str]) -> Collection[str]:
        with reading(self._engine) as session:
            return frozenset(session.scalars(select(RenditionRow.path).where(RenditionRow.path.in_(paths))))

    def _file_rows(
        self,
        session: Session,
        key_of_kind: Mapping[str, Any],
        objects: Sequence[Rendered],
        files: Sequence[StoredFile],
        now: datetime,
    ) -> Iterable[str]:
        """Write the rows of one kind; returns the paths that no row names in the end."""
        statement = select(RenditionRow).filter_by(**key_of_kind).order_by(RenditionRow.number).with_for_update()
        earlier = session.scalars(statement).all()
        if earlier and self.intact(earlier) is not None:
            return [file.path for file in files]
        # Their files have gone, with age or by damage; there may have been more of them, or fewer.
        unused = [row.path for row in earlier if row.path]
        for row in earlier:
            session.delete(row)
        session.flush()
        numbered: list[tuple[int, Rendered, StoredFile]] = [
            (number, each, file) for number, (each, file) in enumerate(zip(objects, files, strict=True), start=1)
        ]
        nothing = Rendered(sop_class_uid="", sop_instance_uid="", content=b"")
        for number, each, file in numbered or [(_NOTHING, nothing, StoredFile(path="", sha256="", size=0))]:
            values = {
                "number": number,
                "sop_class_uid": each.sop_class_uid,
                "sop_instance_uid": each.sop_instance_uid,
                "path": file.path,
                "sha256": file.sha256,
                "size": file.size,
                "rendered_at": now,
            }
            if insert_if_new(session, RenditionRow, {**key_of_kind, **values}) is None and file.path:
                unused.append(file.path)  # another courier was quicker
        return unused

    def _is_intact(self, row: RenditionRow) -> bool:
        return row.path != "" and self._files.is_intact(StoredFile(path=row.path, sha256=row.sha256, size=row.size))

    def _outgoing(self, row: RenditionRow) -> Outgoing:
        return Outgoing(
            kind=row.kind,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            path=self._files.locate(row.path),
        )
