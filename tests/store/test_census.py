"""What is told to whoever watches: how things stand, and what has happened since he came, whatever the tables hold."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, text

from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.census import Crowd, take_census
from ichd.store.tables import StudyRow
from ichd.store.tally import Tally
from tests.store.house import NOON, House

#: Finished studies of the test of time; `tests/benchmarks` has a million.
MANY = 20_000


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


@pytest.mark.parametrize("what", ["census", "tally"])
def test_finished_studies_cost_nothing(house: House, engine: Engine, what: str) -> None:
    """Ten times as many make it hardly slower: an index has what is asked for."""
    tally = Tally(engine)

    def ask() -> float:
        began = time.perf_counter()
        if what == "census":
            take_census(engine)
        else:
            tally.count(now=NOON + timedelta(days=2))
        return time.perf_counter() - began

    _finish(engine, 0, MANY // 10)
    ask()
    few_s = min(ask() for _ in range(10))
    _finish(engine, MANY // 10, MANY)
    ask()
    many_s = min(ask() for _ in range(10))

    assert many_s < 4 * few_s + 0.01


def _finish(engine: Engine, first: int, last: int) -> None:
    rows = [
        {
            "study_instance_uid": f"1.2.3.{number}",
            "accession_number": "",
            "study_datetime": "",
            "state": StudyState.REPORTED,
            "revision": 1,
            "received_at": NOON + timedelta(seconds=number),
            "last_instance_at": NOON + timedelta(seconds=number),
            "finished_at": NOON + timedelta(seconds=number + 5),
            "closing_detail": "",
            "detail": "",
        }
        for number in range(first, last)
    ]
    with engine.begin() as connection:
        connection.execute(insert(StudyRow), rows)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
