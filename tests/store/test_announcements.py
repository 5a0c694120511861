"""What is said of studies: told once, in bounds, and not for ever; on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ichd.domain.arrival import AnnouncementKind, CommitmentState
from ichd.store.announcements import (
    MOST_OF_A_DAY_BY_ONE,
    MOST_OF_A_STUDY,
    MOST_OF_A_STUDY_BY_ONE,
    Announcements,
    Note,
    StepUpdate,
)
from ichd.store.tables import AnnouncementRow, CommitmentRow
from ichd.store.transaction import writing
from tests.store.house import NOON, STUDY, House

STEP = "1.2.3.4.5"


@pytest.fixture
def announcements(engine: Engine) -> Announcements:
    return Announcements(engine)


def begin(announcements: Announcements, step: str = STEP, *, source: str = "CT1", study: str | None = STUDY) -> Note:
    return announcements.begin_step(step, study_uid=study, source=source, complete=False, instances=1, now=NOON)


def rows(engine: Engine) -> list[AnnouncementRow]:
    with Session(engine) as session:
        return list(session.scalars(select(AnnouncementRow).order_by(AnnouncementRow.id)))


def test_a_step_that_two_begin_at_once_is_one(announcements: Announcements, engine: Engine) -> None:
    together = Barrier(2)

    def told_by(source: str) -> Note:
        together.wait()
        return begin(announcements, source=source)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(told_by, ("CT1", "CT2"))) == [Note.NOTED, Note.TAKEN]
    assert announcements.update_step(STEP, ended=True, instances=None, now=NOON) is StepUpdate.UPDATED
    assert len(rows(engine)) == 1


def test_the_database_itself_knows_a_step_once(announcements: Announcements, engine: Engine) -> None:
    begin(announcements)
    twin = {"study_instance_uid": STUDY, "source": "CT2", "key": STEP, "complete": False, "made_at": NOON}
    with pytest.raises(IntegrityError), writing(engine) as session:
        session.add(AnnouncementRow(kind=AnnouncementKind.PERFORMED_STEP, **twin))
    with writing(engine) as session:
        for source in ("CT1", "CT2"):
            session.add(AnnouncementRow(kind=AnnouncementKind.COUNT, **twin | {"source": source}))
    assert len(rows(engine)) == 3


def fill(engine: Engine, number: int, *, source: str = "CT1", study: str = STUDY, made_at: datetime = NOON) -> None:
    said = {"kind": AnnouncementKind.PERFORMED_STEP, "source": source, "study_instance_uid": study}
    steps = [
        said | {"key": f"{study}.{source}.{n}", "complete": False, "instances": 1, "made_at": made_at}
        for n in range(number)
    ]
    with writing(engine) as session:
        session.execute(insert(AnnouncementRow), steps)


def note(announcements: Announcements, kind: AnnouncementKind, *, source: str = "CT1", study: str = STUDY) -> Note:
    return announcements.note(kind, study_uid=study, source=source, complete=True, instances=1, now=NOON)


def test_one_peer_says_so_much_of_a_study(announcements: Announcements, engine: Engine) -> None:
    fill(engine, MOST_OF_A_STUDY_BY_ONE - 1)
    assert begin(announcements) is Note.NOTED
    assert begin(announcements, "1.2.4") is Note.TOO_MUCH
    assert note(announcements, AnnouncementKind.AVAILABILITY) is Note.TOO_MUCH
    assert begin(announcements, "1.2.4", source="CT2") is Note.NOTED
    assert begin(announcements, "1.2.5", study="1.2.840.2") is Note.NOTED
    assert note(announcements, AnnouncementKind.COUNT) is Note.NOTED
    assert announcements.update_step(STEP, ended=True, instances=2, now=NOON) is StepUpdate.UPDATED


def test_all_together_say_so_much_of_a_study(announcements: Announcements, engine: Engine) -> None:
    assert note(announcements, AnnouncementKind.AVAILABILITY) is Note.NOTED
    for peer in range(MOST_OF_A_STUDY // MOST_OF_A_STUDY_BY_ONE):
        fill(engine, MOST_OF_A_STUDY_BY_ONE, source=f"NODE{peer}")
    assert begin(announcements) is Note.TOO_MUCH
    assert note(announcements, AnnouncementKind.AVAILABILITY) is Note.NOTED, "its last word counts all the same"


def test_one_peer_says_so_much_in_a_day(announcements: Announcements, engine: Engine) -> None:
    fill(engine, MOST_OF_A_DAY_BY_ONE, study="", made_at=NOON - timedelta(hours=23))
    assert begin(announcements) is Note.TOO_MUCH
    assert begin(announcements, study=None) is Note.TOO_MUCH
    assert begin(announcements, source="CT2") is Note.NOTED


def test_a_day_later_there_is_place_again(announcements: Announcements, engine: Engine) -> None:
    fill(engine, MOST_OF_A_DAY_BY_ONE, study="", made_at=NOON - timedelta(hours=25))
    assert begin(announcements) is Note.NOTED


def test_words_on_a_study_that_never_came_are_forgotten(house: House) -> None:
    house.receive(1, 2)
    old = NOON - timedelta(days=40)
    fill(house.engine, 2, made_at=old)
    fill(house.engine, 2001, study="1.2.840.2", made_at=old)
    fill(house.engine, 1, study="", made_at=old)
    fill(house.engine, 1, study="1.2.840.3", made_at=NOON)
    assert house.studies.forget_old(before=NOON - timedelta(days=30)) == 2002
    assert [row.study_instance_uid for row in rows(house.engine)] == [STUDY, STUDY, "1.2.840.3"]


def test_requests_that_have_ended_are_forgotten(house: House) -> None:
    old = NOON - timedelta(days=40)
    same = {"calling_ae_title": "CT1", "address": "", "requested_at": old, "run_at": old, "images": 0, "instances": []}
    with writing(house.engine) as session:
        for number, finished_at in enumerate((None, old, NOON)):
            state = CommitmentState.PENDING if finished_at is None else CommitmentState.REPORTED
            session.add(CommitmentRow(transaction_uid=f"1.{number}", state=state, finished_at=finished_at, **same))
    assert house.studies.forget_old(before=NOON - timedelta(days=30)) == 1
    with Session(house.engine) as session:
        assert session.scalars(select(CommitmentRow.finished_at).order_by(CommitmentRow.id)).all() == [None, NOON]
