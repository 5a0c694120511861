"""What others say of studies: how many images they have, that they are complete; it may come before any image."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.study import StudyState
from ichd.store.facts import storable_text
from ichd.store.tables import AnnouncementRow, ArrivalRow, AssociationRow, StudyRow
from ichd.store.transaction import insert_if_new, reading, writing

#: What peers say of one study. A study has a step for each of its series at most, and a notification of each archive.
MOST_OF_A_STUDY = 128
#: What one peer says of one study.
MOST_OF_A_STUDY_BY_ONE = 32
#: What one peer says in a day, of which a large archive takes studies by the thousand.
MOST_OF_A_DAY_BY_ONE = 20_000


class Note(StrEnum):
    """What became of a new announcement."""

    NOTED = "noted"
    #: There is a procedure step of that UID.
    TAKEN = "taken"
    #: So much was said before that this is not kept.
    TOO_MUCH = "too_much"


class StepUpdate(StrEnum):
    """What became of the update of a procedure step."""

    UPDATED = "updated"
    UNKNOWN = "unknown"
    #: It had ended before, and may be changed no more (PS3.4 F.7.2.2.2).
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A study under reception that ended associations carried."""

    study_uid: str
    #: When the last of them ended.
    ended_at: datetime
    #: Who sent in that one.
    calling_ae_title: str


class Announcements:
    """Each method is one transaction, committed when it returns; each raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(
        self,
        kind: AnnouncementKind,
        *,
        study_uid: str,
        source: str,
        complete: bool,
        instances: int | None,
        now: datetime,
    ) -> Note:
        """Write down what a source says of a study; its last word of a kind counts."""
        key = {"kind": kind, "source": storable_text(source), "key": study_uid}
        said = {"complete": complete, "instances": instances, "made_at": now}
        values = key | said | {"study_instance_uid": study_uid}
        present = select(AnnouncementRow).filter_by(**key).with_for_update()
        with writing(self._engine) as session:
            row = session.scalars(present).one_or_none()
            if row is None:
                if _is_too_much(session, values):
                    return Note.TOO_MUCH
                if insert_if_new(session, AnnouncementRow, values) is not None:
                    return Note.NOTED
                # Another listener noted it in between.
                row = session.scalars(present).one()
            row.complete, row.instances, row.made_at = complete, instances, now
            return Note.NOTED

    def begin_step(
        self,
        step_uid: str,
        *,
        study_uid: str | None,
        source: str,
        complete: bool,
        instances: int | None,
        now: datetime,
    ) -> Note:
        """Write down a new procedure step, of no study where it makes no images of ours."""
        values = {
            "kind": AnnouncementKind.PERFORMED_STEP,
            "source": storable_text(source),
            "key": step_uid,
            "study_instance_uid": study_uid or "",
            "complete": complete,
            "instances": instances,
            "made_at": now,
        }
        with writing(self._engine) as session:
            if _step(session, step_uid) is not None:
                return Note.TAKEN
            if _is_too_much(session, values):
                return Note.TOO_MUCH
            # Another listener may have noted it in between.
            return Note.TAKEN if insert_if_new(session, AnnouncementRow, values) is None else Note.NOTED

    def update_step(self, step_uid: str, *, ended: bool, instances: int | None, now: datetime) -> StepUpdate:
        """Change a procedure step that is in progress; without a number it keeps the one that it has."""
        with writing(self._engine) as session:
            row = _step(session, step_uid)
            if row is None:
                return StepUpdate.UNKNOWN
            if row.complete:
                return StepUpdate.ENDED
            row.complete, row.made_at = ended, now
            if instances is not None:
                row.instances = instances
            return StepUpdate.UPDATED

    def brought(self) -> list[Brought]:
        """The studies under reception that no association is bringing any more, each with who brought it last."""
        statement = (
            select(StudyRow.study_instance_uid, AssociationRow.ended_at, AssociationRow.calling_ae_title)
            .select_from(StudyRow)
            .join(ArrivalRow, ArrivalRow.study_id == StudyRow.id)
            .join(AssociationRow, AssociationRow.id == ArrivalRow.association_id)
            .where(StudyRow.state == StudyState.RECEIVING)
            .order_by(AssociationRow.ended_at, AssociationRow.id)
        )
        ended: dict[str, Brought] = {}
        still_open: set[str] = set()
        with reading(self._engine) as session:
            for uid, ended_at, caller in session.execute(statement):
                if ended_at is None:
                    still_open.add(uid)
                else:
                    ended[uid] = Brought(study_uid=uid, ended_at=ended_at, calling_ae_title=caller)
        return [brought for uid, brought in ended.items() if uid not in still_open]


def _is_too_much(session: Session, values: Mapping[str, Any]) -> bool:
    """Whether there is no place for one more; what a source was asked for by ourselves always has one."""
    if values["kind"] is AnnouncementKind.COUNT:
        return False
    by_same = AnnouncementRow.source == values["source"]
    today = AnnouncementRow.made_at > values["made_at"] - timedelta(days=1)
    if _number(session, by_same, today) >= MOST_OF_A_DAY_BY_ONE:
        return True
    if not values["study_instance_uid"]:
        return False
    of_study = AnnouncementRow.study_instance_uid == values["study_instance_uid"]
    return (
        _number(session, of_study) >= MOST_OF_A_STUDY or _number(session, of_study, by_same) >= MOST_OF_A_STUDY_BY_ONE
    )


def _number(session: Session, *those: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(AnnouncementRow).where(*those)) or 0


def _step(session: Session, step_uid: str) -> AnnouncementRow | None:
    """A procedure step, locked; whoever created it may have it updated by somebody else (PS3.4 F.7.1)."""
    statement = select(AnnouncementRow).filter_by(kind=AnnouncementKind.PERFORMED_STEP, key=step_uid)
    return session.scalars(statement.with_for_update()).one_or_none()
