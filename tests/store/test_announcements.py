"""What is said of studies: told once, in bounds, and not for ever; on both databases."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ichd.domain.arrival import AnnouncementKind
from ichd.store.announcements import Announcements, StepUpdate
from ichd.store.tables import AnnouncementRow
from ichd.store.transaction import writing
from tests.store.house import NOON, STUDY

STEP = "1.2.3.4.5"


@pytest.fixture
def announcements(engine: Engine) -> Announcements:
    return Announcements(engine)


def begin(announcements: Announcements, step: str = STEP, *, source: str = "CT1", study: str | None = STUDY) -> bool:
    return announcements.begin_step(step, study_uid=study, source=source, complete=False, instances=1, now=NOON)


def rows(engine: Engine) -> list[AnnouncementRow]:
    with Session(engine) as session:
        return list(session.scalars(select(AnnouncementRow).order_by(AnnouncementRow.id)))


def test_a_step_that_two_begin_at_once_is_one(announcements: Announcements, engine: Engine) -> None:
    together = Barrier(2)

    def told_by(source: str) -> bool:
        together.wait()
        return begin(announcements, source=source)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(told_by, ("CT1", "CT2"))) == [False, True]
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
