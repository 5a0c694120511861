"""What is told to whoever watches: how things stand, and what has happened since he came, whatever the tables hold."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, event

from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.census import Crowd, peaks_of, take_census
from ichd.store.outlets import outlets
from ichd.store.tally import Tally
from tests.databases import ONE_DATABASE
from tests.store.house import House, read_record, unread


def test_the_census_tells_what_waits_what_failed_and_since_when(house: House) -> None:
    house.ready(study="1.2.840.1")
    house.analyse("pacs", "ris")
    house.deliver()
    house.wait(60)
    house.ready(study="1.2.840.2")
    begun = house.now
    house.wait(30)
    house.receive(1, study="1.2.840.3")

    census = take_census(house.engine)

    assert census.jobs[JobKind.ANALYSE, JobState.QUEUED] == Crowd(count=1, since=begun)
    assert census.jobs[JobKind.PUBLISH, JobState.QUEUED].count == 1
    assert census.jobs[JobKind.ANALYSE, JobState.DEAD] == Crowd(count=0)
    assert list(census.deliveries) in ([("ris", JobState.QUEUED)], [("pacs", JobState.QUEUED)])
    assert census.studies[StudyState.READY].count == census.studies[StudyState.RECEIVING].count == 1
    assert census.studies[StudyState.RECEIVING].since == house.now
    assert census.last_image_at == house.now
    assert census.uploads == {}


def test_dead_jobs_and_destinations_that_fail_are_told(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    job = house.claim()
    house.studies.failed(job, Reason.PEER_UNREACHABLE, "", retry_at=None, now=house.now)

    census = take_census(house.engine)

    assert census.deliveries == {("pacs", JobState.DEAD): 1}


def test_peaks_are_what_waits_or_is_under_way(house: House) -> None:
    house.ready(study="1.2.840.1")
    house.analyse("pacs", "ris")
    house.claim()
    house.ready(study="1.2.840.2")
    house.wait(30)

    assert peaks_of(take_census(house.engine), house.now) == {
        "queue_peak/analyse": 1,
        "queue_peak/publish": 2,
        "wait_peak_s/analyse": 30,
        "wait_peak_s/publish": 32,
        "owed_peak/pacs": 1,
        "owed_peak/ris": 1,
    }


def test_a_tally_counts_how_long_readings_took(house: House) -> None:
    tally = Tally(house.engine)
    tally.count(now=house.now)
    for study in ("1.2.840.1", "1.2.840.2"):
        house.ready(study=study)
        house.analyse(record=read_record() | {"timings_ms": {"load": 250.0, "embed": 1000.0}})
    house.ready(study="1.2.840.3")
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), now=house.now)
    house.wait(11)
    tally.count(now=house.now)

    assert tally.readings == 2
    assert tally.stages_s == {"load": 0.5, "embed": 2.0}


def test_a_tally_counts_from_its_beginning_each_thing_once(house: House) -> None:
    house.ready(study="1.2.840.1")
    tally = Tally(house.engine)
    tally.count(now=house.now)
    house.analyse("pacs")
    house.deliver()
    house.receive(1, 2, 3, study="1.2.840.2")
    house.arrivals.refuse(
        Reason.TRUNCATED, detail="", calling_ae_title="CT1", address="", sop_class_uid=None, sop_instance_uid=None,
        now=house.now,
    )  # fmt: skip

    tally.count(now=house.now)
    assert (tally.studies_received, tally.images) == (0, 0), (
        "what is that new may have a neighbour that is not shown yet"
    )
    house.wait(11)
    tally.count(now=house.now)
    latencies = tally.latencies_s
    tally.count(now=house.now + timedelta(seconds=1))

    assert (tally.studies_received, tally.images) == (1, 3)
    assert tally.image_bytes == sum(len(f"1.2.840.2.1.{number}") for number in (1, 2, 3))
    assert tally.deliveries == {"pacs": 1}
    assert tally.refusals == {Reason.TRUNCATED: 1}
    assert tally.studies_finished == {StudyState.REPORTED: 1}
    assert latencies == [2.0]
    assert tally.latencies_s == []


@ONE_DATABASE
def test_no_job_that_is_done_is_read(engine: Engine) -> None:
    """As the planner of SQLite says it, which reads the whole table where no index has what is asked."""
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    take_census(engine)
    outlets(engine, ["pacs"])

    with engine.connect() as connection:
        plans = [
            row.detail
            for statement, values in list(asked)
            if "FROM job" in statement
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    assert len(plans) > 8
    assert [plan for plan in plans if plan == "SCAN job"] == []
