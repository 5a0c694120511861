"""A worklist by filter, search and page: every study once, in one order, by the indices."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import Engine, event, insert, text

from ichd.domain.errors import UserError
from ichd.domain.finding import Triage
from ichd.domain.study import StudyState
from ichd.store import worklist as worklist_module
from ichd.store.changes import ChangeWatch
from ichd.store.queue import Job
from ichd.store.tables import StudyRow
from ichd.store.worklist import Worklist, WorklistQuery
from ichd.store.worklist_order import Cursor, Order, urgency
from tests.store.house import NOON, House, image, read_record, unread

COUNT = 240


@pytest.fixture
def studies(engine: Engine) -> list[dict[str, object]]:
    """Of all standings, some at the same moment, over three days; the newest last."""
    chance = Random(7)
    rows: list[dict[str, object]] = []
    at = NOON - timedelta(days=3)
    for number in range(1, COUNT + 1):
        at += timedelta(minutes=chance.choice((0, 17, 19)))
        accession = f"{'Ab' if number % 3 else 'X'}{number:04}"
        rows.append(
            {
                "study_instance_uid": f"1.2.{number % 5}.{number}",
                "accession_number": accession,
                "accession_key": accession.lower(),
                "study_datetime": "",
                "state": chance.choice(list(StudyState)),
                "triage": chance.choice([None, *Triage]),
                "received_at": at,
                "last_instance_at": at,
            }
        )
    with engine.begin() as connection:
        connection.execute(insert(StudyRow), rows)
    return rows


def expected(rows: list[dict[str, object]], query: WorklistQuery) -> list[str]:
    """The same by reading all of them."""

    def fits(row: dict[str, object]) -> bool:
        words = str(row["accession_key"]).startswith(query.text.lower())
        return (
            (words or str(row["study_instance_uid"]).startswith(query.text))
            and (not query.states or row["state"] in query.states)
            and (not query.triages or row["triage"] in query.triages)
            and (query.since is None or row["received_at"] >= query.since)  # type: ignore[operator]
            and (query.until is None or row["received_at"] < query.until)  # type: ignore[operator]
        )

    def rank(numbered: tuple[int, dict[str, object]]) -> tuple[int, float, int]:
        number, row = numbered
        fresh = query.order is Order.URGENT and row["received_at"] >= NOON - timedelta(hours=24)  # type: ignore[operator]
        urgent = urgency(row["triage"], row["state"]) if fresh else 3  # type: ignore[arg-type]
        if query.order is Order.NEWEST:
            urgent = 0
        return urgent, -row["received_at"].timestamp(), -number  # type: ignore[attr-defined]

    return [
        str(row["study_instance_uid"]) for _, row in sorted(filter(lambda n: fits(n[1]), enumerate(rows)), key=rank)
    ]


def walk(engine: Engine, query: WorklistQuery) -> Iterator[str]:
    """All pages, one after the other; time goes on meanwhile."""
    now = NOON
    while True:
        page = Worklist(engine).page(query, now=now)
        yield from (study.study_uid for study in page.studies)
        if page.next is None:
            return
        query = replace(query, after=Cursor.parse(str(page.next)))
        now += timedelta(hours=1)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("searched", ["", "aB", "x01", "1.2.3", "nothing"])
@pytest.mark.parametrize(
    "narrowed",
    [
        {},
        {"states": frozenset({StudyState.FAILED})},
        {"triages": frozenset({Triage.URGENT, Triage.INDETERMINATE})},
        {"states": frozenset({StudyState.FAILED, StudyState.READY}), "triages": frozenset({Triage.ROUTINE})},
        {"since": NOON - timedelta(days=2), "until": NOON - timedelta(hours=20)},
        {"until": NOON - timedelta(hours=30), "triages": frozenset({Triage.URGENT})},
    ],
    ids=["all", "a state", "triages", "both", "days", "old urgent"],
)
@pytest.mark.parametrize("few", [1000, 20], ids=["looked up", "looked through"])
def test_pages_hold_each_study_that_fits_once_and_in_order(
    engine: Engine,
    studies: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    order: Order,
    searched: str,
    narrowed: dict[str, object],
    few: int,
) -> None:
    monkeypatch.setattr(worklist_module, "_FEW", few)
    monkeypatch.setattr(worklist_module, "_STRETCH", 30)
    query = replace(WorklistQuery(text=searched, order=order, limit=7), **narrowed)  # type: ignore[arg-type]

    assert list(walk(engine, query)) == expected(studies, query)


def test_counts_are_of_the_time_that_is_asked_for(engine: Engine, studies: list[dict[str, object]]) -> None:
    since = NOON - timedelta(days=2)
    counts = Worklist(engine).counts(WorklistQuery(since=since, text="x", states=frozenset({StudyState.READY})))

    within = [row for row in studies if row["received_at"] >= since]  # type: ignore[operator]
    assert counts.by_state == {state: sum(row["state"] is state for row in within) for state in StudyState}
    assert counts.by_triage == {triage: sum(row["triage"] is triage for row in within) for triage in Triage}


def test_the_row_of_a_study_has_the_triage_that_lists_show(house: House) -> None:
    house.receive(1, 2)
    house.close()
    house.studies.finish_analysis(begun(house), record=read_record(), destinations=(), now=house.now)
    assert shown(house) == [(Triage.URGENT, Triage.URGENT)]
    # Images that are gone are no news of the patient, a study that can't be read is.
    house.studies.reprocess("1.2.840.1", now=house.now)
    gone = unread() | {"reason": "images_dropped"}
    house.studies.not_analysed(begun(house), record=gone, now=house.now)
    assert shown(house) == [(Triage.URGENT, Triage.URGENT)]
    house.studies.reprocess("1.2.840.1", now=house.now)
    house.studies.not_analysed(begun(house), record=unread(), now=house.now)
    assert shown(house) == [(None, None)]


def begun(house: House) -> Job:
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    return job


def shown(house: House) -> list[tuple[Triage | None, Triage | None]]:
    with house.engine.connect() as connection:
        copies = [row.triage for row in connection.execute(StudyRow.__table__.select())]
    return list(zip(copies, [s.triage for s in house.studies.summaries()], strict=True))


def test_a_study_that_arrives_is_found_by_its_accession_number_in_any_case(house: House) -> None:
    house.arrive(replace(image(1), accession_number="Äb-17"), association_id=house.open_association())

    found = Worklist(house.engine).page(WorklistQuery(text="ÄB"), now=house.now)
    assert [study.accession_number for study in found.studies] == ["Äb-17"]


@pytest.mark.parametrize("words", ["", "x", "????", "MXwyMDI2", "MHwyMDI2LTAxLTAxfDF8MjAyNi0wMS0wMQ"])
def test_a_place_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(UserError, match="no place in the worklist"):
        Cursor.parse(words)


def test_pages_read_ranges_of_indices(engine: Engine, studies: list[dict[str, object]]) -> None:
    """With nothing else to choose, a planner says which index fits; with few rows it would rather read them all."""
    if engine.dialect.name == "postgresql":
        pytest.skip("the plans of PostgreSQL depend on sizes; the benchmark has a million studies")
    said: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: object, cursor: object, statement: str, values: object, *_: object) -> None:
        if "FROM study" in statement and not statement.startswith("EXPLAIN"):
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[attr-defined]
            said.extend(row[3] for row in plan)

    some = {"states": frozenset({StudyState.FAILED}), "triages": frozenset({Triage.URGENT})}
    for query in (WorklistQuery(), WorklistQuery(**some), WorklistQuery(text="x"), WorklistQuery(order=Order.URGENT)):  # type: ignore[arg-type]
        Worklist(engine).page(query, now=NOON)
    assert [line for line in said if line.startswith("SCAN study") and "USING" not in line] == []


def test_whoever_watches_hears_of_what_others_commit(house: House) -> None:
    heard = threading.Event()
    watch = ChangeWatch(house.engine, heard.set)
    watch.start()
    assert heard.wait(60)
    heard.clear()
    house.receive(1)
    assert heard.wait(60)
    watch.stop()
    watch.join()


def test_a_bell_rings_for_what_the_worklist_shows_and_not_for_each_image(house: House) -> None:
    if house.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no bell")
    with house.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as listener:
        listener.execute(text("LISTEN ichd_worklist"))
        driver = listener.connection.driver_connection

        def rings() -> int:
            return len(list(driver.notifies(timeout=0.2)))  # type: ignore[union-attr]

        association = house.open_association()
        house.arrive(image(1), association_id=association)
        assert rings() == 1
        house.arrive(image(2), association_id=association)
        assert rings() == 0
        house.end_association(association)
        house.close()
        assert rings() >= 1
