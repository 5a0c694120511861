"""A database of any earlier release becomes today's, and nothing of what it holds is lost."""

import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import UserError
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.domain.study import StudyState
from ichd.store.arrivals import ArrivalKind
from ichd.store.audit import Audit
from ichd.store.engine import check_schema, migrate, open_database
from ichd.store.queue import Job
from ichd.store.spool import Spool
from ichd.store.tables import Base
from tests.store.house import NOON, House, house_on, image, read_record
from tests.store.release import NEWEST, RELEASED, Rows, make_release, rows_of

#: What a column that is new since says of a row from before it.
SINCE: dict[tuple[str, str], Callable[[dict[str, Any]], object]] = {
    ("association", "door"): lambda row: "dimse",
    ("study", "closing_detail"): lambda row: "",
    ("refusal", "study_instance_uid"): lambda row: None,
    ("job", "order_at"): lambda row: row["run_at"],
    ("job", "owed_since"): lambda row: row["created_at"],
    ("receipt", "left_out"): lambda row: [],
    ("receipt", "proof"): lambda row: "sent",
    ("receipt", "proved_at"): lambda row: None,
    ("study", "images_dropped_at"): lambda row: None,
    ("instance", "dropped_at"): lambda row: None,
    ("conflict", "dropped_at"): lambda row: None,
    ("job", "begun"): lambda row: True,
    ("study", "accession_key"): lambda row: row["accession_number"].lower(),
    ("study", "triage"): lambda row: found_in(row["study_instance_uid"]),
}
#: What is gone: others took its place.
GONE = {("job", "priority")}

UIDS = {number: f"1.2.840.{number}" for number in range(1, 11)}
(
    REPORTED,
    NOT_ANALYSED,
    FAILED_AT_READING,
    FAILED_AT_DELIVERY,
    WAITING_TO_BE_SENT,
    LATE_SLICES,
    HALF_ARRIVED,
    BEING_READ,
    READY,
    BEING_SENT,
) = UIDS.values()

#: What was found last; the images of the one with late slices were dropped meanwhile, which is no news.
TRIAGE = {
    REPORTED: "urgent",
    FAILED_AT_DELIVERY: "routine",
    **dict.fromkeys((WAITING_TO_BE_SENT, BEING_SENT, LATE_SLICES), "urgent"),
}


def found_in(study_uid: str) -> str | None:
    return TRIAGE.get(study_uid)


@pytest.fixture(params=RELEASED)
def release(request: pytest.FixtureRequest) -> str:
    revision: str = request.param
    return revision


@pytest.fixture
def before(database_url: str, release: str) -> Rows:
    """What the database of the earlier release held; it is upgraded by now."""
    engine = make_release(database_url, release)
    rows = rows_of(engine)
    engine.dispose()
    assert migrate(database_url) == NEWEST
    return rows


@pytest.fixture
def upgraded(database_url: str, before: Rows) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def house(upgraded: Engine, tmp_path: Path) -> House:
    """Today's program on it, an hour later: no lease of those days holds."""
    return house_on(upgraded, Spool(tmp_path / "spool"), now=NOON + timedelta(hours=1))


def test_every_row_is_there_and_what_is_new_says_what_was_true(before: Rows, upgraded: Engine) -> None:
    is_full(before)
    after = rows_of(upgraded)
    assert not any(lost_or_changed(before, after).values())
    for name, rows in before.items():
        new = set(after[name][0]) - set(rows[0])
        for row in after[name]:
            assert {c: row[c] for c in new} == {c: SINCE[name, c](row) for c in new}, name
    is_todays(upgraded)
    trail_is_guarded(upgraded, told=len(before.get("audit", ())))


def test_the_work_of_those_days_goes_on_to_its_end(house: House) -> None:
    assert set(states(house)) == set(UIDS.values())
    assert house.studies.detail(REPORTED).summary.finding_revision == 2
    # As a start of the daemon does: who listened there is dead, and so is who held leases.
    house.arrivals.end_interrupted(listener="here:11112", now=house.now)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 2
    for study_uid in (FAILED_AT_READING, FAILED_AT_DELIVERY):
        assert house.studies.retry(study_uid, now=house.now) == 1
    again = house.open_association()
    assert house.arrive(image(1, study=REPORTED), association_id=again) is ArrivalKind.DUPLICATE
    house.end_association(again)
    assert states(house)[REPORTED] is StudyState.REPORTED
    house.receive(9, study=REPORTED)
    house.wait(3600)
    assert sorted(house.close()) == [REPORTED, LATE_SLICES, HALF_ARRIVED]

    done = work_off(house)

    expected = dict.fromkeys(UIDS.values(), StudyState.REPORTED) | {NOT_ANALYSED: StudyState.NOT_ANALYSED}
    assert states(house) == expected
    assert [job.revision for job in done if (job.kind, job.study_uid) == (JobKind.PUBLISH, REPORTED)] == [3]
    finding = next(row for row in rows_of(house.engine)["finding"] if (row["study_id"], row["revision"]) == (1, 3))
    assert finding["predecessor_revision"] == 2, "the report of a late slice names the one from before"


def test_several_that_upgrade_at_once_do_it_once(database_url: str) -> None:
    engine = make_release(database_url, "0001")
    before = rows_of(engine)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        assert list(pool.map(migrate, [database_url] * 2)) == [NEWEST, NEWEST]
    assert not any(lost_or_changed(before, rows_of(engine)).values())
    engine.dispose()


#: Dies by SIGKILL as soon as the database did a statement that begins as the second argument says.
KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from ichd.store.engine import migrate

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.lstrip().startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

migrate(sys.argv[1])
"""


@pytest.mark.parametrize(
    "last_words",
    ["CREATE TABLE announcement", "ALTER TABLE job DROP COLUMN", "UPDATE alembic_version SET version_num='0005'"],
)
def test_an_upgrade_that_is_killed_has_done_nothing_and_is_done_by_the_next(database_url: str, last_words: str) -> None:
    engine = make_release(database_url, "0001")
    before = rows_of(engine)
    engine.dispose()

    killed = subprocess.run([sys.executable, "-c", KILLED, database_url, last_words], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match=r"schema 0001.*needs 0005.*ichd migrate"):
        check_schema(engine)
    assert rows_of(engine) == before

    assert migrate(database_url) == NEWEST
    assert not any(lost_or_changed(before, rows_of(engine)).values())
    check_schema(engine)
    engine.dispose()


def is_full(release: Rows) -> None:
    """Every table and every state; else the comparison would prove less than it says."""
    assert [name for name, rows in release.items() if not rows] == []
    assert {row["state"] for row in release["study"]} == set(StudyState)
    states = {(row["kind"], row["state"]) for row in release["job"]}
    assert states == {(kind, state) for kind in JobKind for state in JobState}


def is_todays(engine: Engine) -> None:
    """The schema is what the models say, and the rows keep to it."""
    check_schema(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        if engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def trail_is_guarded(engine: Engine, *, told: int) -> None:
    """The audit trail of `told` entries takes another one, and changes none."""
    trail = Audit(engine)
    trail.record(at=NOON, event=AuditEvent.LOG_IN, outcome=AuditOutcome.SUCCESS, actor="reader", subject={})
    entries = trail.read(limit=100)
    assert len(entries) == told + 1
    for change in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(change))
    assert trail.read(limit=100) == entries


def lost_or_changed(before: Rows, after: Rows) -> Rows:
    """Rows that are not there any more as they were; what was dropped on purpose does not count."""
    return {
        name: [
            row
            for row, now in zip(rows, [*after[name], *([{}] * len(rows))], strict=False)
            if any(now.get(c, now) != value for c, value in row.items() if (name, c) not in GONE)
        ]
        for name, rows in before.items()
    }


def states(house: House) -> dict[str, StudyState]:
    return {summary.study_uid: summary.state for summary in house.studies.summaries(limit=100)}


def work_off(house: House) -> list[Job]:
    """Do whatever is due, as workers and couriers do; returns what it was."""
    done = []
    while job := house.try_claim():
        if job.kind is JobKind.ANALYSE:
            house.studies.begin_analysis(job, now=house.now)
            house.studies.finish_analysis(
                job, record=read_record(series_uid=f"{job.study_uid}.1"), destinations=("pacs",), now=house.now
            )
        else:
            house.deliveries.begin(job, now=house.now)
            house.deliveries.delivered(job, house.receipt(job), now=house.now)
        done.append(job)
    return done
