"""Figures of each hour: counted once it is over, the same however often, and forgotten after years."""

from datetime import timedelta

from sqlalchemy import Engine

from ichd.domain.reason import Reason
from ichd.store.statistics import HOUR, Statistics
from tests.store.house import NOON, House, read_record

HIGH_NOON = NOON.replace(minute=0, second=0, microsecond=0)


def test_an_hour_tells_what_came_what_came_of_it_and_how_long_it_took(house: House) -> None:
    house.ready(study="1.2.840.1")
    house.wait(3)
    house.analyse("pacs", record=read_record(triage="urgent", any_p=0.9))
    house.deliver()
    house.ready(study="1.2.840.2")
    house.wait(8)
    house.analyse("pacs", record=read_record(triage="routine", any_p=0.1))
    job = house.claim()
    house.studies.failed(job, Reason.PEER_DENIED, "", retry_at=None, now=house.now)
    statistics = Statistics(house.engine)

    assert statistics.count_hours(now=HIGH_NOON + HOUR) == 1, "of the hour before; this one is not settled yet"
    assert statistics.count_hours(now=HIGH_NOON + HOUR + timedelta(minutes=1)) == 1
    assert statistics.count_hours(now=HIGH_NOON + HOUR + timedelta(minutes=30)) == 0

    def figure(name: str) -> float:
        ((at, value),) = statistics.series(name, since=HIGH_NOON, until=HIGH_NOON + HOUR)
        assert at == HIGH_NOON
        return value

    assert figure("studies_received") == 2
    assert figure("studies_reported") == figure("studies_failed") == 1
    assert figure("studies_not_analysed") == 0
    assert figure("latency_p50_s") == figure("latency_p95_s") == figure("latency_p99_s") == 5.0
    assert figure("queue_wait_p50_s") == 3.0
    assert figure("triage/urgent") == figure("triage/routine") == 1
    assert figure("mean_any") == 0.5
    assert figure("deliveries_ok/pacs") == figure("deliveries_dead/pacs") == 1


def test_hours_in_which_no_worker_ran_are_made_up_for(house: House) -> None:
    statistics = Statistics(house.engine)
    statistics.count_hours(now=NOON + timedelta(minutes=1))

    assert statistics.count_hours(now=NOON + 5 * HOUR + timedelta(minutes=1)) == 5
    assert statistics.count_hours(now=NOON + 500 * HOUR) == 48, "not all, where it was away for weeks"
    at = [at for at, _ in statistics.series("studies_received", since=NOON - 9 * HOUR, until=NOON + 5 * HOUR)]
    assert at == [HIGH_NOON + n * HOUR for n in range(-1, 5)]


def test_counting_again_leaves_the_newer_figure(engine: Engine) -> None:
    statistics = Statistics(engine)
    statistics.record({"disk_used/a": 0.5, "disk_used/b": 0.1}, at=NOON)
    statistics.record({"disk_used/a": 0.6}, at=NOON)
    statistics.record({"disk_used/a": 0.7}, at=NOON + HOUR)

    assert statistics.series("disk_used/a", since=NOON, until=NOON + 9 * HOUR) == [(NOON, 0.6), (NOON + HOUR, 0.7)]
    assert statistics.latest("disk_used", since=NOON) == {"a": 0.7, "b": 0.1}
    assert statistics.latest("disk_used", since=NOON + HOUR) == {"a": 0.7}


def test_of_some_figures_only_the_newest_is_kept(engine: Engine) -> None:
    statistics = Statistics(engine)
    for hour in range(3):
        statistics.record_latest({"certificate_end/a/web": float(hour)}, at=NOON + hour * HOUR)

    assert statistics.latest("certificate_end", since=NOON) == {"a/web": 2.0}
    assert statistics.series("certificate_end/a/web", since=NOON, until=NOON + 9 * HOUR) == [(NOON + 2 * HOUR, 2.0)]


def test_what_is_old_is_forgotten(engine: Engine) -> None:
    statistics = Statistics(engine)
    for hour in range(4):
        statistics.record({"mean_any": float(hour)}, at=NOON + hour * HOUR)

    assert statistics.forget(before=NOON + 3 * HOUR) == 3
    assert statistics.series("mean_any", since=NOON, until=NOON + 9 * HOUR) == [(NOON + 3 * HOUR, 3.0)]
